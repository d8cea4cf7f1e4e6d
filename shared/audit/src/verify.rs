//! Waits until the system is quiet, and checks all invariants. A violation counts once it was seen
//! twice, since the broker's own delivery counts are seconds old.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use crate::look::Look;
use crate::{
    Checked, DeadLetter, Endpoints, Pulse, Quiet, Readers, Repair, Snapshot, Sources, Stranded,
    Told, Violation,
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
    /// Orders to look at again at the next check under load: open, or with violations.
    pub left: usize,
    /// Orders that a check under load does not judge yet: their rows may not be committed.
    pub young: usize,
    pub dead_letters: Vec<DeadLetter>,
    /// Purged dead letters: their orders may stand still for ever.
    pub purged: Vec<DeadLetter>,
    pub stranded: Vec<Stranded>,
    pub repaired: Vec<Repair>,
    pub violations: Vec<Violation>,
    /// The services beside the saga that were not checked, each with the reason; without one, where
    /// no address of its database was given.
    pub unchecked: BTreeMap<String, Option<String>>,
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

pub async fn verify(
    endpoints: &Endpoints,
    readers: &Readers,
    wait: Duration,
    told: &Told,
    mut news: impl FnMut(&str),
) -> Result<Verdict> {
    let mut sources = Sources::connect(endpoints).await?;
    sources.databases.find_due(readers.add_ons).await?;
    let started = Instant::now();
    let mut last: Option<Pulse> = None;
    loop {
        let before = sources.databases.pulse(readers).await?;
        let restless = what_is_under_way(&mut sources, readers, &before).await?;
        let is_moving = last.as_ref().is_some_and(|last| *last != before);
        last = Some(before.clone());
        let is_over = started.elapsed() >= wait;
        if !restless.is_empty() && !is_over {
            news(&format!("waiting for quiet: {}", restless.join(", ")));
            sleep(LOOK_EVERY).await;
            continue;
        }
        let mut look = Look::at(&mut sources, readers, told, &mut news).await?;
        let mut quiet = quiet_since(&mut sources, readers, &before, is_moving).await?;
        let breaks = look.violations(quiet).len();
        if breaks > 0 && quiet == Quiet::Yes && !is_over {
            news(&format!("breaks: {breaks}; looking again"));
            sleep(LOOK_AGAIN_AFTER.min(wait.saturating_sub(started.elapsed()))).await;
            look.second(&mut sources, readers, told).await?;
            quiet = quiet_since(&mut sources, readers, &before, is_moving).await?;
        }
        if quiet == Quiet::No && !is_over {
            sleep(LOOK_EVERY).await;
            continue;
        }
        let unchecked = sources.databases.unread(readers.add_ons);
        return Ok(Verdict { unchecked, ..Verdict::of(look, quiet, restless, started.elapsed()) });
    }
}

async fn quiet_since(
    sources: &mut Sources,
    readers: &Readers,
    before: &Pulse,
    is_moving: bool,
) -> Result<Quiet> {
    let has_moved = is_moving || sources.databases.pulse(readers).await? != *before;
    Ok(if has_moved { Quiet::No } else { Quiet::Yes })
}

impl Verdict {
    /// Whether everything could be checked that an address was given of.
    pub fn is_complete(&self) -> bool {
        self.outcome != Outcome::Moving && self.unchecked.values().all(Option::is_none)
    }

    fn of(look: Look, quiet: Quiet, restless: Vec<String>, waited: Duration) -> Self {
        let violations = look.violations(quiet);
        let outcome = match (violations.is_empty(), quiet) {
            (false, _) => Outcome::Broken,
            (true, Quiet::No) => Outcome::Moving,
            (true, Quiet::Yes) => Outcome::Clean,
        };
        let Look { checked, stranded, whole, .. } = look;
        let Snapshot { dead_letters, purged, repaired, .. } = whole;
        let (quiet, waited_s) = (quiet == Quiet::Yes, waited.as_secs_f64());
        Self {
            outcome,
            quiet,
            restless,
            waited_s,
            checked,
            left: 0,
            young: 0,
            dead_letters,
            purged,
            stranded: stranded.into_values().collect(),
            repaired,
            violations,
            unchecked: BTreeMap::new(),
        }
    }
}

async fn what_is_under_way(
    sources: &mut Sources,
    readers: &Readers,
    pulse: &Pulse,
) -> Result<Vec<String>> {
    let unsent = pulse.unsent.iter().filter(|(_, rows)| **rows > 0);
    let mut found: Vec<_> =
        unsent.map(|(service, rows)| format!("rows in {service}'s outbox: {rows}")).collect();
    let depths = sources.broker.depths().await?;
    let waiting = depths.iter().filter(|(_, messages)| **messages > 0);
    found.extend(waiting.map(|(queue, depth)| format!("messages in {queue}: {depth}")));
    if !pulse.open.is_empty() {
        let mut stuck = sources.broker.dead_letters().await?;
        stuck.extend(sources.databases.purged().await?);
        stuck.retain(|letter| !letter.is_beside(readers.add_ons));
        let stuck: HashSet<_> = stuck.iter().filter_map(|letter| letter.order_id).collect();
        let open = pulse.open.iter().filter(|order| !stuck.contains(order)).count();
        if open > 0 {
            found.push(format!("orders not final: {open}"));
        }
    }
    Ok(found)
}
