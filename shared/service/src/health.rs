//! Publishes a service's state for probes: in a file, since three of the four open no port.

use crate::clock::{Clock, complaint};
use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use database::Limits;
use messaging::{Activities, Activity, ConsumerState, HeldUp, Kind, Progress};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};
use telemetry::metrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NOTED_EVERY: Duration = Duration::from_secs(1);
const STALE_AFTER_S: f64 = 5.0;
/// A loop without progress for this many deadlines is stuck: no step of it takes as many.
const STUCK_AFTER: u32 = 6;
/// The broker's deadlines are independent of the database's.
const STUCK_MIN: Duration = Duration::from_secs(60);
/// A job has many steps.
const LONG: u32 = 10;

pub struct Health {
    database: AtomicBool,
    standing: watch::Receiver<ConsumerState>,
    /// How far the machine's clock is ahead of the database's.
    ahead_ms: AtomicI64,
    /// The activities of the loops.
    pub activities: Activities,
    /// Whether the database refuses some work: the service is ready all the same, since it does
    /// what it can.
    pub held_up: HeldUp,
    limits: Limits,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Note {
    pid: u32,
    /// When it was written, by the kernel's uptime, which is never set.
    uptime_s: f64,
    database: bool,
    consuming: bool,
    #[serde(default)]
    clock_ahead_ms: i64,
    /// Long waits that may still end.
    #[serde(default)]
    waits: Vec<String>,
    /// Why some work waits, though the service is ready.
    #[serde(default)]
    held_up: Option<String>,
    /// Stuck activities.
    #[serde(default)]
    stuck: Vec<String>,
}

impl Health {
    pub fn new(standing: watch::Receiver<ConsumerState>) -> Self {
        let (database, ahead_ms) = (AtomicBool::new(false), AtomicI64::new(0));
        let (activities, held_up) = (Activities::default(), HeldUp::default());
        Self { database, standing, ahead_ms, activities, held_up, limits: Limits::DEFAULT }
    }

    pub(crate) fn of(progress: &Progress, limits: Limits) -> Self {
        let (activities, held_up) = (progress.activities.clone(), progress.held_up.clone());
        Self { activities, held_up, limits, ..Self::new(progress.subscribe()) }
    }

    pub fn see_database(&self, answers: bool) {
        self.database.store(answers, Ordering::Release);
    }

    /// Whether the database answered when last asked.
    pub fn database(&self) -> bool {
        self.database.load(Ordering::Acquire)
    }

    /// Whether the broker is connected and every queue has its consumer.
    pub fn consuming(&self) -> bool {
        *self.standing.borrow() != ConsumerState::Away
    }

    /// Whether the backlog from the time without consuming is handled.
    pub fn caught_up(&self) -> bool {
        *self.standing.borrow() == ConsumerState::CaughtUp
    }

    /// The fault of the machine's clock, if any.
    pub fn clock(&self) -> Option<String> {
        complaint(TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Acquire)))
    }

    /// The waits that are so long that this service is not ready, the oldest first.
    pub fn waits(&self) -> Vec<String> {
        let mut late = self.activities.since(self.limits.statement() / 2);
        late.retain(|one| one.kind != Kind::Job);
        let mut named = HashSet::new();
        late.retain(|one| named.insert(one.what));
        late.iter().map(told).collect()
    }

    /// The activities that have outlasted all deadlines together.
    fn stuck(&self) -> Vec<String> {
        let bound = (self.limits.statement() * STUCK_AFTER).max(STUCK_MIN);
        let is_stuck = |one: &&Activity| match one.kind {
            Kind::Step => true,
            Kind::Job => one.age() >= bound * LONG,
            Kind::Wait => false,
        };
        self.activities.since(bound).iter().filter(is_stuck).map(told).collect()
    }

    /// Queries the database's clock and writes the file, until stopped; then removes the file.
    pub(crate) async fn report_until_stopped(
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
            self.see_database(answered);
            // After a machine's sleep its clock stood still, until the next query.
            if answered {
                self.compare(clock.ahead());
            }
            metrics::CONSUMING.set(f64::from(u8::from(answered && self.consuming())), []);
            metrics::HELD_UP.set(f64::from(u8::from(self.held_up.told().is_some())), []);
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
            (Some(_), None) => tracing::info!("the machine's clock is correct again"),
            _ => {}
        }
    }

    /// Renamed into place, so that no probe reads half of it.
    fn note(&self, file: &Path) -> std::io::Result<()> {
        let note = Note {
            pid: std::process::id(),
            uptime_s: uptime_s()?,
            database: self.database(),
            consuming: self.consuming(),
            clock_ahead_ms: self.ahead_ms.load(Ordering::Acquire),
            waits: self.waits(),
            held_up: self.held_up.told(),
            stuck: self.stuck(),
        };
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&note)?)?;
        fs::rename(fresh, file)
    }
}

fn told(activity: &Activity) -> String {
    format!("{} has been waiting for {} s", activity.what, activity.age().as_secs())
}

/// Readiness: whether the service that writes this file is well. Returns why some of its work waits
/// all the same.
pub fn check(file: &Path) -> anyhow::Result<Option<String>> {
    let mut note = running(file)?;
    let mut troubles = Vec::new();
    match (note.database, note.consuming) {
        (true, true) => {}
        (false, _) => troubles.push("the database does not answer".into()),
        (true, false) => troubles.push("not consuming: no session with the broker".into()),
    }
    troubles.extend(complaint(TimeDelta::milliseconds(note.clock_ahead_ms)));
    troubles.append(&mut note.waits);
    ensure!(troubles.is_empty(), troubles.join("; "));
    Ok(note.held_up)
}

/// The machine's uptime.
fn uptime_s() -> std::io::Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| std::io::Error::other("/proc/uptime tells no time"))
}

/// Liveness: whether it runs and makes progress, independently of its servers: a restart would not
/// bring them back. While they are unavailable each wait ends, and begins again.
pub fn check_alive(file: &Path) -> anyhow::Result<()> {
    let note = running(file)?;
    ensure!(note.stuck.is_empty(), "stuck: {}", note.stuck.join("; "));
    Ok(())
}

fn running(file: &Path) -> anyhow::Result<Note> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("not running: {shown} does not exist"))?;
    let note: Note =
        serde_json::from_slice(&text).with_context(|| format!("cannot parse {shown}"))?;
    let age_s = uptime_s()? - note.uptime_s;
    // A file from before the machine's start is not fresh either.
    ensure!(
        (0.0..STALE_AFTER_S).contains(&age_s),
        "not running: {shown} was last written {age_s:.0} s ago"
    );
    // A killed process leaves its last file behind.
    let process = Path::new("/proc").join(note.pid.to_string());
    ensure!(process.exists(), "not running: the process has exited");
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

        let (standing, receiver) = watch::channel(ConsumerState::Away);
        let health = Health::new(receiver);
        health.note(&file).unwrap();
        assert_eq!(check(&file).unwrap_err().to_string(), "the database does not answer");
        health.database.store(true, Ordering::Release);
        health.note(&file).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("not consuming"));
        standing.send_replace(ConsumerState::Behind);
        health.note(&file).unwrap();
        assert_eq!(check(&file).unwrap(), None);
        health.compare(TimeDelta::minutes(-15));
        health.note(&file).unwrap();
        assert!(check(&file).unwrap_err().to_string().contains("15 min behind the database's"));
        check_alive(&file).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_named_and_what_waits_for_longer_than_all_deadlines_is_stuck() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("health");
        let health = Health::new(watch::channel(ConsumerState::CaughtUp).1);
        health.database.store(true, Ordering::Release);
        let waits = health.activities.begin("a transaction");
        let _job = health.activities.begin_job("a job");
        let after = async |seconds| {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            health.note(&file).unwrap();
            let alive = check_alive(&file).map_err(|why| why.to_string());
            (check(&file).map(drop).map_err(|why| why.to_string()), alive)
        };
        assert_eq!(after(4).await, (Ok(()), Ok(())));
        let transaction = |seconds| format!("a transaction has been waiting for {seconds} s");
        assert_eq!(after(8).await, (Err(transaction(12)), Ok(())));
        let stuck = format!("stuck: {}", transaction(61));
        assert_eq!(after(49).await, (Err(transaction(61)), Err(stuck)));
        drop(waits);
        assert_eq!(after(500).await, (Ok(()), Ok(())));
        let stuck = "stuck: a job has been waiting for 601 s".to_owned();
        assert_eq!(after(40).await, (Ok(()), Err(stuck)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_whose_database_refuses_some_messages_is_ready_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("health");
        let progress = Progress::new();
        let standing = watch::channel(ConsumerState::CaughtUp).1;
        let health = Health { standing, ..Health::of(&progress, Limits::DEFAULT) };
        health.database.store(true, Ordering::Release);
        progress.held_up.refused("a lock timeout", Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(74)).await;
        health.note(&file).unwrap();
        let told = "held up by its database for 74 s: a lock timeout".to_owned();
        assert_eq!(check(&file).unwrap(), Some(told));
    }

    #[test]
    fn a_service_without_its_servers_is_alive_and_a_dead_or_hanging_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("health");
        assert!(check_alive(&file).unwrap_err().to_string().contains("not running"));

        let health = Health::new(watch::channel(ConsumerState::Away).1);
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
        assert!(check(&file).unwrap_err().to_string().contains("the process has exited"));
        assert!(check_alive(&file).unwrap_err().to_string().contains("the process has exited"));
        for age_s in [-60.0, 6.0] {
            edit("uptime_s", (uptime_s().unwrap() - age_s).into());
            for verdict in [check(&file).map(drop), check_alive(&file)] {
                assert!(verdict.unwrap_err().to_string().contains("last written"));
            }
        }
    }
}
