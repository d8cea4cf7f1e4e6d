//! A service's state, for probes: in a file, since three of the four open no port.

use anyhow::{Context as _, bail, ensure};
use messaging::Standing;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use telemetry::metrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NOTED_EVERY: Duration = Duration::from_millis(500);
const STALE_AFTER: Duration = Duration::from_secs(5);

pub struct Health {
    database: AtomicBool,
    standing: watch::Receiver<Standing>,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Note {
    pid: u32,
    database: bool,
    consuming: bool,
}

impl Health {
    pub const fn new(standing: watch::Receiver<Standing>) -> Self {
        Self { database: AtomicBool::new(false), standing }
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

    /// Asks the database and writes the file, until stopped; then the file goes.
    pub(crate) async fn keep(
        &self,
        pool: &database::PgPool,
        file: PathBuf,
        stop: &CancellationToken,
    ) {
        let mut complained = false;
        while !stop.is_cancelled() {
            let asked = tokio::time::timeout(Duration::from_secs(2), ping(pool)).await;
            self.database.store(matches!(asked, Ok(Ok(()))), Ordering::Release);
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

    /// Renamed into place, so that nobody reads half of it.
    fn note(&self, file: &Path) -> std::io::Result<()> {
        let note = Note {
            pid: std::process::id(),
            database: self.database(),
            consuming: self.consuming(),
        };
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&note)?)?;
        fs::rename(fresh, file)
    }
}

async fn ping(pool: &database::PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(|_| ())
}

/// Whether the service that writes this file is well.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let note = running(file)?;
    match (note.database, note.consuming) {
        (true, true) => Ok(()),
        (false, _) => bail!("the database does not answer"),
        (true, false) => bail!("not consuming: no session with the broker"),
    }
}

/// Whether it runs, however its servers are: to start it anew would not bring them back.
pub fn check_alive(file: &Path) -> anyhow::Result<()> {
    running(file).map(|_| ())
}

fn running(file: &Path) -> anyhow::Result<Note> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("not running: there is no {shown}"))?;
    let age = fs::metadata(file)?.modified()?.elapsed().unwrap_or_default();
    ensure!(age < STALE_AFTER, "not running: {shown} was last written {} s ago", age.as_secs());
    let note: Note =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is damaged"))?;
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

        fs::write(&file, r#"{"pid":4194305,"database":true,"consuming":true}"#).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("it has died"));
        assert!(check_alive(&file).unwrap_err().to_string().contains("it has died"));
        health.note(&file).unwrap();
        let past = fs::metadata(&file).unwrap().modified().unwrap() - STALE_AFTER;
        fs::File::options().write(true).open(&file).unwrap().set_modified(past).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("last written"));
        assert!(check_alive(&file).unwrap_err().to_string().contains("last written"));
    }
}
