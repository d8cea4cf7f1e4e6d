//! A service's state, for probes: in a file, since three of the four open no port.

use crate::clock::{Clock, complaint};
use anyhow::{Context as _, bail, ensure};
use chrono::TimeDelta;
use messaging::Standing;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};
use telemetry::metrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NOTED_EVERY: Duration = Duration::from_millis(500);
const STALE_AFTER_S: f64 = 5.0;

pub struct Health {
    database: AtomicBool,
    standing: watch::Receiver<Standing>,
    /// How far the machine's clock is ahead of the database's.
    ahead_ms: AtomicI64,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Note {
    pid: u32,
    /// When it was written, by the kernel's clock that nothing sets.
    uptime_s: f64,
    database: bool,
    consuming: bool,
    #[serde(default)]
    clock_ahead_ms: i64,
}

impl Health {
    pub const fn new(standing: watch::Receiver<Standing>) -> Self {
        Self { database: AtomicBool::new(false), standing, ahead_ms: AtomicI64::new(0) }
    }

    /// Whether the database answered when last asked.
    pub fn database(&self) -> bool {
        self.database.load(Ordering::Acquire)
    }

    /// Whether the broker is connected and every queue has its consumer.
    pub fn consuming(&self) -> bool {
        *self.standing.borrow() != Standing::Away
    }

    /// Whether all that was said while it could not hear is handled.
    pub fn caught_up(&self) -> bool {
        *self.standing.borrow() == Standing::CaughtUp
    }

    /// What is wrong with the machine's clock, if anything.
    pub fn clock(&self) -> Option<String> {
        complaint(TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Acquire)))
    }

    /// Asks the database for the time and writes the file, until stopped; then the file goes.
    pub(crate) async fn keep(
        &self,
        pool: &database::PgPool,
        clock: &Clock,
        file: PathBuf,
        stop: &CancellationToken,
    ) {
        let mut complained = false;
        while !stop.is_cancelled() {
            let asked = tokio::time::timeout(Duration::from_secs(2), clock.look(pool)).await;
            let answered = matches!(asked, Ok(Ok(())));
            self.database.store(answered, Ordering::Release);
            // A machine that has slept has a clock that stood still, until it looks again.
            if answered {
                self.compare(clock.ahead());
            }
            metrics::CONSUMING.set(f64::from(u8::from(self.consuming())), []);
            if let Err(why) = self.note(&file)
                && !std::mem::replace(&mut complained, true)
            {
                tracing::warn!("HEALTH_FILE={} cannot be written: {why}", file.display());
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(NOTED_EVERY) => {}
            }
        }
        let _ = fs::remove_file(&file);
    }

    fn compare(&self, ahead: TimeDelta) {
        metrics::CLOCK_AHEAD.set(ahead.as_seconds_f64(), []);
        let before = self.clock();
        self.ahead_ms.store(ahead.num_milliseconds(), Ordering::Release);
        match (before, self.clock()) {
            (None, Some(wrong)) => tracing::error!("{wrong}"),
            (Some(_), None) => tracing::info!("the machine's clock is right again"),
            _ => {}
        }
    }

    /// Renamed into place, so that nobody reads half of it.
    fn note(&self, file: &Path) -> std::io::Result<()> {
        let note = Note {
            pid: std::process::id(),
            uptime_s: uptime_s()?,
            database: self.database(),
            consuming: self.consuming(),
            clock_ahead_ms: self.ahead_ms.load(Ordering::Acquire),
        };
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&note)?)?;
        fs::rename(fresh, file)
    }
}

/// Whether the service that writes this file is well.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let note = running(file)?;
    match (note.database, note.consuming, complaint(TimeDelta::milliseconds(note.clock_ahead_ms))) {
        (true, true, None) => Ok(()),
        (true, true, Some(wrong)) => bail!(wrong),
        (false, ..) => bail!("the database does not answer"),
        (true, false, _) => bail!("not consuming: no session with the broker"),
    }
}

/// For how long the machine has been up.
fn uptime_s() -> std::io::Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| std::io::Error::other("/proc/uptime tells no time"))
}

/// Whether it runs, however its servers are: to start it anew would not bring them back.
pub fn check_alive(file: &Path) -> anyhow::Result<()> {
    running(file).map(|_| ())
}

fn running(file: &Path) -> anyhow::Result<Note> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("not running: there is no {shown}"))?;
    let note: Note =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is damaged"))?;
    let age_s = uptime_s()? - note.uptime_s;
    // One from before the machine started is not fresh either.
    ensure!(
        (0.0..STALE_AFTER_S).contains(&age_s),
        "not running: {shown} was last written {age_s:.0} s ago"
    );
    // A process that was killed leaves its last note behind.
    let process = Path::new("/proc").join(note.pid.to_string());
    ensure!(process.exists(), "not running: it has died");
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_note_of_a_consuming_service_is_health() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("health");
        assert!(check(&file).unwrap_err().to_string().contains("not running"));

        let (standing, receiver) = watch::channel(Standing::Away);
        let health = Health::new(receiver);
        health.note(&file).unwrap();
        assert_eq!(check(&file).unwrap_err().to_string(), "the database does not answer");
        health.database.store(true, Ordering::Release);
        health.note(&file).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("not consuming"));
        standing.send_replace(Standing::Behind);
        health.note(&file).unwrap();
        check(&file).unwrap();
        health.compare(TimeDelta::minutes(-15));
        health.note(&file).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("15 min behind the database's"));
        check_alive(&file).unwrap();
    }

    #[test]
    fn a_service_without_its_servers_is_alive_and_a_dead_or_hanging_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("health");
        assert!(check_alive(&file).unwrap_err().to_string().contains("not running"));

        let health = Health::new(watch::channel(Standing::Away).1);
        health.note(&file).unwrap();
        check(&file).unwrap_err();
        check_alive(&file).unwrap();

        let edit = |what: &str, to: serde_json::Value| {
            health.note(&file).unwrap();
            let mut note: serde_json::Value =
                serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            note[what] = to;
            fs::write(&file, note.to_string()).unwrap();
        };
        edit("pid", 4_194_305.into());
        assert!(check(&file).unwrap_err().to_string().contains("it has died"));
        assert!(check_alive(&file).unwrap_err().to_string().contains("it has died"));
        for age_s in [-60.0, 6.0] {
            edit("uptime_s", (uptime_s().unwrap() - age_s).into());
            for verdict in [check(&file), check_alive(&file)] {
                assert!(verdict.unwrap_err().to_string().contains("last written"));
            }
        }
    }
}
