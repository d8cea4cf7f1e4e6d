//! Writes a verdict as metrics, for node_exporter's textfile collector.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use audit::Verdict;
use chrono::{DateTime, Utc};

/// Replaces the file whole: half of it is never read. The collector is another user, who can read
/// it whatever our umask.
pub fn write(file: &Path, verdict: &Verdict, now: DateTime<Utc>) -> Result<()> {
    let new = file.with_extension("new");
    let writing = fs::write(&new, text(verdict, now))
        .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&new, file));
    writing.with_context(|| format!("cannot write the metrics to {}", file.display()))
}

fn text(verdict: &Verdict, now: DateTime<Utc>) -> String {
    let gauges = [
        ("violations", "broken invariants", verdict.violations.len().to_string()),
        ("stranded", "orders charged in vain, by a purge", verdict.stranded.len().to_string()),
        ("orders_checked", "orders that the last check judged", verdict.checked.orders.to_string()),
        ("orders_left", "orders open, or with violations", verdict.left.to_string()),
        ("duration_seconds", "duration of the last check", verdict.waited_s.to_string()),
        ("finished_timestamp_seconds", "time of the last check", now.timestamp().to_string()),
    ];
    let mut text = String::new();
    for (name, meaning, value) in gauges {
        let name = format!("saga_verify_{name}");
        writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} gauge\n{name} {value}")
            .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::{Checked, Outcome};
    use std::collections::BTreeMap;

    fn verdict() -> Verdict {
        Verdict {
            outcome: Outcome::Clean,
            quiet: true,
            restless: Vec::new(),
            waited_s: 1.5,
            checked: Checked { orders: 7, ..Checked::default() },
            left: 2,
            young: 0,
            dead_letters: Vec::new(),
            purged: Vec::new(),
            stranded: Vec::new(),
            repaired: Vec::new(),
            violations: Vec::new(),
            unchecked: BTreeMap::new(),
        }
    }

    #[test]
    fn other_users_can_read_the_file() {
        let file = std::env::temp_dir().join(format!("saga-{}.prom", std::process::id()));
        // As a umask of 077 would make it.
        let new = file.with_extension("new");
        fs::write(&new, "").unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        write(&file, &verdict(), DateTime::UNIX_EPOCH).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        fs::remove_file(&file).unwrap();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn a_verdict_is_six_gauges() {
        let text = text(&verdict(), DateTime::from_timestamp(90, 0).unwrap());
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "saga_verify_violations 0",
            "saga_verify_stranded 0",
            "saga_verify_orders_checked 7",
            "saga_verify_orders_left 2",
            "saga_verify_duration_seconds 1.5",
            "saga_verify_finished_timestamp_seconds 90",
        ];
        assert_eq!(values, wanted);
    }
}
