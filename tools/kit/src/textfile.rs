//! Writes a verdict as metrics, for node_exporter's textfile collector.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use audit::Verdict;
use chrono::{DateTime, Utc};

/// Replaces the file whole: half of it is never read.
pub fn write(file: &Path, verdict: &Verdict, now: DateTime<Utc>) -> Result<()> {
    let new = file.with_extension("new");
    let writing = fs::write(&new, text(verdict, now)).and_then(|()| fs::rename(&new, file));
    writing.with_context(|| format!("cannot write the metrics to {}", file.display()))
}

fn text(verdict: &Verdict, now: DateTime<Utc>) -> String {
    let gauges = [
        ("violations", "broken invariants", verdict.violations.len().to_string()),
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

    #[test]
    fn a_verdict_is_five_gauges() {
        let verdict = Verdict {
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
        };
        let text = text(&verdict, DateTime::from_timestamp(90, 0).unwrap());
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "saga_verify_violations 0",
            "saga_verify_orders_checked 7",
            "saga_verify_orders_left 2",
            "saga_verify_duration_seconds 1.5",
            "saga_verify_finished_timestamp_seconds 90",
        ];
        assert_eq!(values, wanted);
    }
}
