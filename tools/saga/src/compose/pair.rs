//! The two containers of a database, as `deploy/postgres/pair.sh` starts them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::primary::follower;
use kit::settings::{Database, Settings};
use tokio::time::{Instant, sleep};

use super::{Compose, compose_command};

/// Names the primary; each of the two sees it.
const PRIMARY: &str = "/pair/primary";
const FOLLOW_BOUND: Duration = Duration::from_secs(60);
/// A standby that cannot follow copies all data.
const COPY_BOUND: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub struct Pair<'a> {
    compose: &'a Compose,
    database: &'a Database,
    /// Where each listens on this machine.
    ports: Vec<u16>,
}

impl<'a> Pair<'a> {
    pub fn of(compose: &'a Compose, settings: &Settings, database: &'a Database) -> Self {
        let ports = settings.servers_of(database).into_iter().map(|(port, _)| port).collect();
        Self { compose, database, ports }
    }

    fn names(&self) -> [String; 2] {
        let service = self.database.service;
        [format!("{service}-db"), format!("{service}-db-2")]
    }

    /// Which of the two is the primary, running or not.
    async fn primary(&self) -> Result<usize> {
        let names = self.names();
        for name in &names {
            if let Ok(primary) = self.compose.exec(name, &["cat", PRIMARY]).await {
                let place = names.iter().position(|name| *name == primary);
                return place.with_context(|| format!("{primary} is none of {}", names.join(", ")));
            }
        }
        anyhow::bail!("neither {} nor {} runs: `make docker-up`", names[0], names[1])
    }

    /// Kills the primary, makes the standby the primary, and returns its port.
    pub async fn fail_over(&self, is_forced: bool) -> Result<u16> {
        let (names, old) = (self.names(), self.primary().await?);
        let (old, new, port) = (&names[old], &names[1 - old], self.ports[1 - old]);
        let runs = self.compose.exec(new, &["pg_isready", "--quiet"]).await;
        runs.with_context(|| format!("the standby, {new}, does not run: `make docker-up`"))?;
        // It may have ended already.
        compose_command(&["kill", old]).output().await.context("`docker` cannot be run")?;
        let promote: &[&str] = &["bash", "/pair.sh", "promote", "--force"];
        let words = if is_forced { promote } else { &promote[..3] };
        self.compose.exec(new, words).await?;
        Ok(port)
    }

    /// Lets the primary commit alone, and returns the standby's port.
    pub async fn release(&self) -> Result<u16> {
        let primary = self.primary().await?;
        self.compose.exec(&self.names()[primary], &["bash", "/pair.sh", "release"]).await?;
        Ok(self.ports[1 - primary])
    }

    /// Starts the standby, and returns its port when commits wait for it. If it cannot follow, it
    /// copies the primary anew.
    pub async fn start_standby(&self) -> Result<u16> {
        let primary = self.primary().await?;
        let standby = &self.names()[1 - primary];
        if !self.is_followed(primary).await {
            self.restart(standby).await?;
        }
        if !self.is_followed_within(primary, FOLLOW_BOUND).await {
            let mark = "rm --force $PGDATA/standby.signal";
            self.compose.exec(standby, &["gosu", "postgres", "bash", "-c", mark]).await?;
            self.restart(standby).await?;
            let follows = self.is_followed_within(primary, COPY_BOUND).await;
            ensure!(follows, "{standby} does not follow: `docker compose logs {standby}`");
        }
        Ok(self.ports[1 - primary])
    }

    async fn restart(&self, name: &str) -> Result<()> {
        let restart = compose_command(&["restart", "--no-deps", name]).output().await;
        let restarted = restart.context("`docker` cannot be run")?.status.success();
        ensure!(restarted, "{name} cannot be started: `make docker-up`");
        Ok(())
    }

    async fn is_followed_within(&self, primary: usize, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while !self.is_followed(primary).await {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
        true
    }

    /// Whether commits wait, which is noted for a promotion.
    async fn is_followed(&self, primary: usize) -> bool {
        let asked = follower(self.database, self.ports[primary]).await;
        let is = asked.is_ok_and(|(waits, one)| waits && one.is_some_and(|one| one.is_synchronous));
        let noted = ["test", "-e", "/pair/synchronous"];
        is && self.compose.exec(&self.names()[primary], &noted).await.is_ok()
    }
}
