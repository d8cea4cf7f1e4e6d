//! Runs a whole system of its own under load, injects the faults of a seeded plan one after the
//! other, then stops them and verifies.

mod fault;
mod faults;
mod fleet;
mod live;
mod memory;
mod plan;
mod poison;
mod proxy;
mod report;
mod tap;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::verify::verify;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::load::{self, Load, Mix};
use faults::{Done, Hands};
use fleet::Fleet;
use live::Live;
use memory::Scales;
use plan::Plan;
use tap::Tap;

pub use fault::{Fault, Faults};
pub use faults::can_shift_clocks;
pub use plan::Every;
pub use report::Report;

/// How long an order may take once the faults have stopped: an expired claim of a crashed payment,
/// and the retries of a failing one, take some time.
const QUIET_WITHIN: Duration = Duration::from_secs(180);
/// For the last messages, and for RabbitMQ's own count of them.
const VERIFIED_WITHIN: Duration = Duration::from_secs(90);
/// A stopped load must end within this time.
const OVER_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Serialize)]
pub struct Chaos {
    pub seed: u64,
    /// The maximum duration of the faults.
    #[serde(rename = "for_s", serialize_with = "seconds")]
    pub length: Duration,
    #[serde(serialize_with = "names")]
    pub faults: Faults,
    #[serde(serialize_with = "shown")]
    pub every: Every,
    /// The number of orders, after which the faults stop as well; none means as many as there is
    /// time for.
    pub orders: Option<usize>,
    /// A second.
    pub rate: u32,
    pub in_flight: usize,
    #[serde(skip)]
    pub mix: Mix,
    /// The directory of another RabbitMQ than the machine's.
    #[serde(skip)]
    pub rabbitmq: Option<PathBuf>,
    /// The directory of the previous release's binaries.
    #[serde(skip)]
    pub previous: Option<PathBuf>,
}

impl Chaos {
    /// Everything is kept in `dir`, which is made and deleted.
    pub async fn run(&self, dir: &Path, logs: &Path, is_shown: bool) -> Result<Report> {
        let live = Live::new(is_shown);
        let mut shown = JoinSet::new();
        live.now("starting the servers and the services");
        shown.spawn(live.clone().redraw());
        let mut fleet =
            Fleet::start(dir, self.faults.need_cluster(), self.rabbitmq.as_deref()).await?;
        let outcome = self.on(&mut fleet, &live).await;
        live.clear();
        drop(shown);
        if !outcome.as_ref().is_ok_and(|report| report.breaks.is_empty()) {
            fleet.system.keep_logs(logs)?;
        }
        fleet.system.end().await;
        outcome
    }

    async fn on(&self, fleet: &mut Fleet, live: &std::sync::Arc<Live>) -> Result<Report> {
        let started = Instant::now();
        let (enough, over) = (CancellationToken::new(), CancellationToken::new());
        let api = fleet.api()?;
        let load = Load {
            orders: self.orders.unwrap_or(usize::MAX),
            in_flight: self.in_flight,
            mix: self.mix.clone(),
            rate: Some(self.rate),
            patience: self.length + QUIET_WITHIN + OVER_WITHIN,
            enough: enough.clone(),
            over: over.clone(),
            ..Load::default()
        };
        let tap = Tap::start(&fleet.system.endpoints);
        let scales = Scales::start(&fleet.system.replicas);
        let mut loading = JoinSet::new();
        let seen = live.clone();
        let wanted = load.orders;
        let placing = enough.clone();
        loading.spawn(async move {
            load::run(&[api], &load, |so_far, _| {
                seen.orders(so_far);
                if so_far.placed >= wanted {
                    placing.cancel();
                    seen.has_all();
                }
            })
            .await
        });
        let faults = self.commit_all(fleet, &tap, live, &enough, started).await;
        enough.cancel();
        live.now("putting everything right");
        fleet.heal().await?;
        live.now("quiet: waiting for the last orders");
        let mut ended = timeout(QUIET_WITHIN, loading.join_next()).await;
        if ended.is_err() {
            over.cancel();
            ended = timeout(OVER_WITHIN, loading.join_next()).await;
        }
        let mut orders = ended.context("the load does not end")?.context("there is a load")??;
        let heavy = faults.iter().flat_map(|done| &done.placed);
        orders.told.placed.get_or_insert_default().extend(heavy);
        tap.stop().await.context("cannot take the tap's queue away")?;
        let (poison, memory) = (tap.poisoned(), scales.peaks());
        let verdict =
            verify(&fleet.system.endpoints, VERIFIED_WITHIN, &orders.told, |news| live.now(news));
        let verdict = verdict.await.map_err(|why| format!("{why:#}"));
        Ok(Report::new(self, faults, orders, (&poison, memory), verdict, started.elapsed()))
    }

    /// Injects one fault after the other, until the time is over or all orders have been placed.
    async fn commit_all(
        &self,
        fleet: &mut Fleet,
        tap: &Tap,
        live: &Live,
        enough: &CancellationToken,
        started: Instant,
    ) -> Vec<Done> {
        let end = started + self.length;
        let mut begun = started;
        let mut done = Vec::new();
        for step in Plan::new(self.seed, &self.faults, self.every) {
            let due = begun + step.gap;
            tokio::select! {
                biased;
                () = enough.cancelled() => break,
                () = sleep_until(due.min(end).into()) => {}
            }
            if Instant::now() >= end {
                break;
            }
            begun = Instant::now();
            live.now(format!("{} {}", step.fault.name(), step.target));
            let one =
                Hands::new(fleet, tap, live, self.previous.as_deref()).commit(step, started).await;
            live.fault_is_over(&report::line(&one));
            done.push(one);
        }
        done
    }
}

fn seconds<S: serde::Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(length.as_secs_f64())
}

fn names<S: serde::Serializer>(faults: &Faults, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(&faults.0)
}

fn shown<S: serde::Serializer>(every: &Every, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(every)
}
