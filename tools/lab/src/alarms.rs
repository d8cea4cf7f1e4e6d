//! Runs a whole system of its own under a light load and a real Prometheus, injects a fault for
//! each alert, and checks that it rings for that, and no other does.

mod collector;
mod dashboards;
mod fault;
mod faults;
mod prometheus;
mod report;
mod scale;
mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audit::Told;
use kit::verify::verify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::load::{self, Load};
use dashboards::Findings;
use fault::Kind;
use prometheus::{Prometheus, Ring, State};
use report::{Row, Rung};
use system::Watched;

pub use fault::{FAULTS, Fault, named};
pub use report::{PAGE, Report};
pub use scale::Scale;

/// The endings that need a refund, and others.
const MIX: &str = "confirmed=15,declined=2,carrier=2,sold-out=1";
/// Orders a second.
const RATE: u32 = 5;
/// A crowd that repeats its requests would be a heavy load.
const CUSTOMERS_PATIENCE: Duration = Duration::from_secs(2);
/// Those that come while shipping is slow.
const BURST: usize = 1600;
const BURST_RATE: u32 = 80;
const IN_FLIGHT_MAX: usize = 20_000;
/// In production; the longest alert needs 15 minutes.
const RINGS_WITHIN: Duration = Duration::from_secs(20 * 60);
const SILENT_WITHIN: Duration = Duration::from_secs(20 * 60);
/// What the services take is not scaled: backoff, redeliveries, a late refund's next try.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const ORDERS_WITHIN: Duration = Duration::from_secs(180);
const VERIFIED_WITHIN: Duration = Duration::from_secs(90);

pub struct Alarms {
    pub faults: Vec<&'static Fault>,
    pub scale: Scale,
    /// The directory of another RabbitMQ than the machine's.
    pub rabbitmq: Option<PathBuf>,
}

impl Alarms {
    /// Everything is kept in `dir`, which is made and deleted.
    pub async fn run(&self, dir: &Path, logs: &Path, mut news: impl FnMut(&str)) -> Result<Report> {
        news("starting the servers and the services");
        let mut watched = Watched::start(dir, self.scale, self.rabbitmq.as_deref()).await?;
        let outcome = self.on(&mut watched, &mut news).await;
        if !outcome.as_ref().is_ok_and(|report| report.breaks.is_empty()) {
            watched.system.keep_logs(logs)?;
        }
        watched.system.end().await;
        outcome
    }

    async fn on(&self, watched: &mut Watched, news: &mut impl FnMut(&str)) -> Result<Report> {
        let started = Instant::now();
        let findings = Arc::new(Mutex::new(Findings::default()));
        let (prometheus, every) = (watched.prometheus.clone(), watched.scraped_every());
        let mut asking = JoinSet::new();
        asking.spawn(dashboards::watch(prometheus, every, Arc::clone(&findings)));
        let (enough, over) = (CancellationToken::new(), CancellationToken::new());
        let load = Load {
            rate: Some(RATE),
            in_flight: IN_FLIGHT_MAX,
            mix: MIX.parse().map_err(anyhow::Error::msg)?,
            patience: CUSTOMERS_PATIENCE,
            enough: enough.clone(),
            over: over.clone(),
            ..Load::default()
        };
        let mut loads = JoinSet::new();
        let api = watched.api()?;
        let placing = load.clone();
        loads.spawn(async move { load::run(&[api], &placing, |_, _| {}).await });
        speak_plainly(&watched.system.servers.settings.order_url()).await;

        let mut rows = Vec::new();
        for &fault in &self.faults {
            news(&format!("{}: {}", fault.name, fault.what));
            if fault.kind == Kind::SlowDatabase {
                let burst = Load { orders: BURST, rate: Some(BURST_RATE), ..load.clone() };
                let api = watched.api()?;
                loads.spawn(async move { load::run(&[api], &burst, |_, _| {}).await });
            }
            let row = self.try_out(fault, watched).await;
            news(&report::line(&row));
            let is_over = row.ended_after_s.is_none();
            rows.push(row);
            // What still rings would be taken for the next fault's.
            if is_over {
                break;
            }
        }

        news("waiting for the last orders, and verifying");
        enough.cancel();
        let told = orders(loads, &over).await?;
        let verdict = verify(&watched.system.endpoints, VERIFIED_WITHIN, &told, |_| {}).await?;
        let findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = self.faults.len();
        Ok(Report::new(self.scale, rows, tried, &findings, &verdict, started.elapsed()))
    }

    /// Errors are part of the returned value.
    async fn try_out(&self, fault: &'static Fault, watched: &mut Watched) -> Row {
        let mut row = Row::of(fault);
        if let Err(why) = self.ring(fault, watched, &mut row).await {
            row.error = Some(format!("{why:#}"));
        }
        row
    }

    async fn ring(&self, fault: &Fault, watched: &mut Watched, row: &mut Row) -> Result<()> {
        let quiet = self.scale.of(SILENT_WITHIN) + PATIENCE;
        let before = self.silence(&watched.prometheus, quiet, &mut BTreeMap::new()).await;
        before.context("before the fault")?;
        let (injected, mut rung) = (Instant::now(), BTreeMap::new());
        watched.inject(fault.kind).await?;
        let rings = self.all_ring(fault, &watched.prometheus, injected, &mut rung).await;
        let repaired = Instant::now();
        watched.repair(fault.kind).await.context("repairing")?;
        let silence = self.silence(&watched.prometheus, quiet, &mut rung).await;
        for (ring, at) in rung {
            let after_s = at.duration_since(injected).as_secs_f64();
            row.add(Rung { ring, after_s });
        }
        rings?;
        silence.context("after the repair")?;
        row.ended_after_s = Some(repaired.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until every alert rings that must.
    async fn all_ring(
        &self,
        fault: &Fault,
        prometheus: &Prometheus,
        since: Instant,
        rung: &mut BTreeMap<Ring, Instant>,
    ) -> Result<()> {
        let bound = self.scale.of(RINGS_WITHIN) + PATIENCE;
        loop {
            look(prometheus, rung).await?;
            let rings = |&&(alert, whom): &&(&str, &str)| {
                rung.keys().any(|ring| ring.alert == alert && ring.whom == whom)
            };
            let Some((alert, whom)) = fault.rings.iter().find(|one| !rings(one)) else {
                return Ok(());
            };
            if since.elapsed() > bound {
                bail!("{alert} has not rung for {whom:?} within {bound:?}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no alert rings or is about to.
    async fn silence(
        &self,
        prometheus: &Prometheus,
        bound: Duration,
        rung: &mut BTreeMap<Ring, Instant>,
    ) -> Result<()> {
        let since = Instant::now();
        // An alert that is about to ring is looked for at two evaluations.
        let mut quiet = 0;
        while quiet < 2 {
            let left = look(prometheus, rung).await?;
            quiet = if left.is_empty() { quiet + 1 } else { 0 };
            if since.elapsed() > bound {
                bail!("not silent within {bound:?}: {left:?}");
            }
            sleep(if quiet == 0 { LOOK_EVERY } else { self.scale.of(EVALUATED_EVERY) }).await;
        }
        Ok(())
    }
}

/// As prometheus.yml says.
const EVALUATED_EVERY: Duration = Duration::from_secs(10);

/// Notes what rings, and returns that and what is about to.
async fn look(prometheus: &Prometheus, rung: &mut BTreeMap<Ring, Instant>) -> Result<Vec<Ring>> {
    let mut left = Vec::new();
    for alert in prometheus.alerts().await? {
        let ring = alert.ring();
        if alert.state == State::Firing {
            rung.entry(ring.clone()).or_insert_with(Instant::now);
        }
        left.push(ring);
    }
    Ok(left)
}

/// All orders that were placed, once they have ended.
async fn orders(mut loads: JoinSet<load::Report>, over: &CancellationToken) -> Result<Told> {
    let (mut told, late) = (Told::default(), over.clone());
    let mut ending = JoinSet::new();
    ending.spawn(async move {
        sleep(ORDERS_WITHIN).await;
        late.cancel();
    });
    while let Some(report) = loads.join_next().await {
        let placed = report?.told.placed;
        told.placed.get_or_insert_default().extend(placed.into_iter().flatten());
    }
    Ok(told)
}

/// To a port for HTTPS, so that a connection is refused.
async fn speak_plainly(url: &str) {
    if let Ok(http) = https::plain().no_proxy().build() {
        http.get(url.replace("https://", "http://")).send().await.ok();
    }
}
