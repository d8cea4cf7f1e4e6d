//! Kills, freezes and cuts off RabbitMQ's nodes, and fails over from a Postgres to its standby.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::home::Home;
use kit::settings::SERVICES;
use kit::system::Servers;
use nix::sys::signal::Signal;
use servers::{Lifetime, Postgres, PostgresConfig, RabbitCluster, RabbitMq};
use tokio::time::{Instant, sleep, timeout};

use super::{ALL, Hands, READY_WITHIN, ms};
use crate::chaos::fault::{Fault, Target};
use crate::chaos::plan::Step;
use crate::chaos::watch::{Measure, Since};

/// The old primary is back for so long, and takes connections, before it becomes a standby.
const BACK_FOR: Duration = Duration::from_secs(2);
const FINDS_BACK_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Hands<'_> {
    pub(super) async fn disturb_node(&mut self, step: &Step) -> Result<String> {
        let since = Since::now();
        let place = match step.target {
            Target::Node(place) => place,
            _ => self.leader().await? - 1,
        };
        let node = &mut self.nodes()[place];
        let how = match step.fault {
            Fault::NodeKill | Fault::LeaderKill => {
                node.kill().await?;
                "killed"
            }
            Fault::NodeFreeze | Fault::LeaderFreeze => {
                node.process().signal(Signal::SIGSTOP);
                "frozen"
            }
            _ => {
                node.part().await?;
                "cut off"
            }
        };
        sleep(step.lasts).await;
        match step.fault {
            Fault::NodeKill | Fault::LeaderKill => node.restart().await?,
            Fault::NodeFreeze | Fault::LeaderFreeze => node.process().signal(Signal::SIGCONT),
            _ => node.rejoin().await?,
        }
        // RabbitMQ before Khepri does not always find back after a silence; its operator restarts
        // the node.
        let found_back = timeout(FINDS_BACK_WITHIN, self.brokers().whole()).await.is_ok();
        if !found_back {
            self.nodes()[place].restart().await?;
        }
        self.recovered_nodes(&since).await?;
        let then = if found_back { "" } else { ", then restarted, since it did not find back" };
        Ok(format!("node {} {how}, back {} later{then}", place + 1, ms(step.lasts)))
    }

    /// One after the other, each as soon as the last one is back.
    pub(super) async fn roll_nodes(&mut self) -> Result<String> {
        let since = Since::now();
        for place in 0..self.nodes().len() {
            self.nodes()[place].restart().await?;
            self.brokers().whole().await?;
        }
        self.recovered_nodes(&since).await?;
        Ok("each node stopped and started".to_owned())
    }

    pub(super) async fn fail_over(&mut self, place: usize, step: &Step) -> Result<String> {
        let service = SERVICES[place];
        let since = Since::now();
        let is_frozen = step.fault == Fault::FailoverFreeze;
        let comes_back = is_frozen || step.seed.is_multiple_of(2);
        let Servers { settings, postgres, standbys, watchdog, .. } = &mut self.fleet.system.servers;
        let (primary, standby) = (&mut postgres[place], &mut standbys[place]);
        if is_frozen {
            primary.freeze();
        } else {
            primary.kill().await?;
        }
        sleep(step.lasts).await;
        let (home, database) = (Home::new(settings), &settings.databases[place]);
        home.note_failover(database)?;
        std::mem::swap(primary, standby);
        primary.promote().await?;
        let promoted = Since::now();
        self.fleet.system.endpoints.databases.insert(service.to_owned(), primary.url());
        let standby = home.standby(database).context("a cluster has standbys")?;
        let lifetime = Lifetime::Bound(std::sync::Arc::clone(watchdog));
        let standby = PostgresConfig { lifetime, ..standby };
        self.flows(promoted, &[place], Measure::Promoted).await?;
        let Servers { postgres, standbys, .. } = &mut self.fleet.system.servers;
        if comes_back {
            come_back(&mut standbys[place], is_frozen).await?;
        }
        standbys[place] = postgres[place].start_standby(standby).await?;
        self.gap(&since, Measure::FailoverGap).await?;
        let back = if comes_back { ", the old primary back as one" } else { "" };
        let how = if is_frozen { "frozen" } else { "killed" };
        Ok(format!("{how}, its standby promoted {} later{back}", ms(step.lasts)))
    }

    async fn recovered_nodes(&mut self, since: &Since) -> Result<()> {
        self.brokers().whole().await?;
        self.flows(Since::now(), &ALL, Measure::Flows).await?;
        self.nodes()[0].spread_leaders().await?;
        self.gap(since, Measure::NodeGap).await
    }

    /// A busy node may be slow to say.
    async fn leader(&mut self) -> Result<usize> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.nodes()[0].leader().await {
                Err(_) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                found => return found,
            }
        }
    }

    async fn gap(&mut self, since: &Since, measure: Measure) -> Result<()> {
        let gap = since.longest_gap(&self.fleet.system.endpoints).await?;
        self.recovered(measure, gap);
        Ok(())
    }

    fn nodes(&mut self) -> &mut [RabbitMq] {
        &mut self.fleet.system.servers.brokers.nodes
    }

    fn brokers(&self) -> &RabbitCluster {
        &self.fleet.system.servers.brokers
    }
}

/// As a primary, one that was frozen with the connections that it had.
async fn come_back(old: &mut Postgres, is_frozen: bool) -> Result<()> {
    if is_frozen {
        old.thaw();
    } else {
        old.restart().await?;
    }
    sleep(BACK_FOR).await;
    old.kill().await
}
