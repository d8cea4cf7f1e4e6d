//! Waits until the system is quiet, and checks all invariants. A violation counts once it was seen
//! twice, since the broker's own delivery counts are seconds old.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use messaging::{Env, SystemEnv};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    DeadLetter, Endpoints, Pulse, Quiet, Readers, Repair, Snapshot, Sources, Told, Violation, check,
};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// RabbitMQ updates its counts every five seconds.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(6);

#[derive(Debug, Serialize)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Whether nothing moved, so that all invariants could be checked.
    pub quiet: bool,
    /// What still moved, or was unfinished, at the end of the wait.
    pub restless: Vec<String>,
    pub waited_s: f64,
    pub checked: Checked,
    pub dead_letters: Vec<DeadLetter>,
    /// Purged dead letters: their orders may stand still for ever.
    pub purged: Vec<DeadLetter>,
    pub repaired: Vec<Repair>,
    pub violations: Vec<Violation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Quiet, and all invariants hold.
    Clean,
    Broken,
    /// The system keeps moving: the invariants that can be checked then hold.
    Moving,
}

/// How much was checked.
#[derive(Debug, Serialize)]
pub struct Checked {
    pub orders: usize,
    pub orders_by_status: BTreeMap<&'static str, usize>,
    pub facts: usize,
    pub payments: usize,
    pub reservations: usize,
    pub shipments: usize,
    pub idempotency_keys: usize,
    pub queues: usize,
}

pub async fn verify(
    endpoints: &Endpoints,
    readers: &Readers,
    wait: Duration,
    told: &Told,
    mut news: impl FnMut(&str),
) -> Result<Verdict> {
    let mut sources = Sources::connect(endpoints).await?;
    let started = Instant::now();
    let mut last: Option<Pulse> = None;
    let mut is_second_look = false;
    loop {
        let before = sources.databases.pulse(readers).await?;
        let restless = what_is_under_way(&mut sources, &before).await?;
        let is_moving = last.as_ref().is_some_and(|last| *last != before);
        last = Some(before.clone());
        let is_over = started.elapsed() >= wait;
        if !restless.is_empty() && !is_over {
            news(&format!("waiting for quiet: {}", restless.join(", ")));
            sleep(LOOK_EVERY).await;
            continue;
        }
        news("reading everything");
        let snapshot =
            Snapshot { told: told.clone(), ..sources.take(readers, SystemEnv.now()).await? };
        let has_moved = sources.databases.pulse(readers).await? != before;
        if (has_moved || is_moving) && !is_over {
            sleep(LOOK_EVERY).await;
            continue;
        }
        let quiet = if has_moved || is_moving { Quiet::No } else { Quiet::Yes };
        let violations = check(&snapshot, quiet);
        if violations.is_empty() || is_second_look || is_over {
            let outcome = match (violations.is_empty(), quiet) {
                (false, _) => Outcome::Broken,
                (true, Quiet::No) => Outcome::Moving,
                (true, Quiet::Yes) => Outcome::Clean,
            };
            let checked = Checked::of(&snapshot);
            let Snapshot { dead_letters, purged, repaired, .. } = snapshot;
            let waited_s = started.elapsed().as_secs_f64();
            let quiet = quiet == Quiet::Yes;
            return Ok(Verdict {
                outcome,
                quiet,
                restless,
                waited_s,
                checked,
                dead_letters,
                purged,
                repaired,
                violations,
            });
        }
        news(&format!("breaks: {}; looking again", violations.len()));
        is_second_look = true;
        sleep(LOOK_AGAIN_AFTER.min(wait.saturating_sub(started.elapsed()))).await;
    }
}

async fn what_is_under_way(sources: &mut Sources, pulse: &Pulse) -> Result<Vec<String>> {
    let unsent = pulse.unsent.iter().filter(|(_, rows)| **rows > 0);
    let mut found: Vec<_> =
        unsent.map(|(service, rows)| format!("rows in {service}'s outbox: {rows}")).collect();
    let depths = sources.broker.depths().await?;
    let waiting = depths.iter().filter(|(_, messages)| **messages > 0);
    found.extend(waiting.map(|(queue, depth)| format!("messages in {queue}: {depth}")));
    if !pulse.open.is_empty() {
        let mut stuck = sources.broker.dead_letters().await?;
        stuck.extend(sources.databases.purged().await?);
        let stuck: HashSet<_> = stuck.iter().filter_map(|letter| letter.order_id).collect();
        let open = pulse.open.iter().filter(|order| !stuck.contains(order)).count();
        if open > 0 {
            found.push(format!("orders not final: {open}"));
        }
    }
    Ok(found)
}

impl Checked {
    fn of(snapshot: &Snapshot) -> Self {
        let mut orders_by_status = BTreeMap::new();
        for order in &snapshot.orders {
            *orders_by_status.entry(order.status.name()).or_default() += 1;
        }
        Self {
            orders: snapshot.orders.len(),
            orders_by_status,
            facts: snapshot.orders.iter().map(|order| order.facts.len()).sum(),
            payments: snapshot.payments.len(),
            reservations: snapshot.reservations.len(),
            shipments: snapshot.shipments.len(),
            idempotency_keys: snapshot.handled.values().map(Vec::len).sum(),
            queues: snapshot.queues.len(),
        }
    }
}
