//! Checks, while the system works, the orders that changed since the last check. See
//! docs/decisions/0026-verify-under-load.md for what may be said about them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::take;
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use events::{OrderId, Step, lowest_id, said_at};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::pass::{Events, Pass, add_seen, by_id, none_seen, parts};
use crate::{
    Checked, DeadLetter, Endpoints, Held, Order, Outcome, Quiet, Readers, Scope, Snapshot, Sources,
    Stranded, Verdict, Violation, check_orders, check_whole, sorted, stranded,
};

/// How long the check waits before it says anything about an order.
#[derive(Clone, Copy, Debug)]
pub struct Margins {
    /// A younger order may not be committed yet, and belongs to the next check.
    pub young: TimeDelta,
    /// What an ending causes is done by then: the others commit, and delete confirmed events.
    pub settled: TimeDelta,
    /// A final order's last message may wait so long, while its consumer is down: that rings other
    /// alarms.
    pub late: TimeDelta,
}

impl Default for Margins {
    fn default() -> Self {
        Self {
            young: TimeDelta::seconds(60),
            settled: TimeDelta::seconds(10),
            late: TimeDelta::minutes(15),
        }
    }
}

/// What was read at two moments fits together by then.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(6);

/// How far the orders are checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Orders with lower ids are closed: checked for good, except for those that are left.
    upto: OrderId,
    /// Not final at the last check, or with violations; with the events seen of them.
    left: Events,
    /// What the closed orders hold.
    held: Held,
}

/// Checks the orders that changed since the last such check; all of them from the start, or when
/// there was none.
pub async fn verify_since(
    endpoints: &Endpoints,
    readers: &Readers,
    margins: Margins,
    from_start: bool,
    mut news: impl FnMut(&str),
) -> Result<Verdict> {
    let started = Instant::now();
    let mut sources = Sources::connect(endpoints).await?;
    sources.databases.find_due(readers.add_ons).await?;
    let last = sources.databases.progress(readers, from_start).await?;
    let mut since = Since::begin(sources, readers, margins, last.unwrap_or_default()).await?;
    let mut violations = since.look(&mut news).await?;
    let mut whole = Snapshot::default();
    if !since.suspects.is_empty() {
        news(&format!("orders to look at again: {}", since.suspects.len()));
        sleep(LOOK_AGAIN_AFTER).await;
        violations.append(&mut since.look_again(&mut whole).await?);
    }
    let Since { mut sources, next, checked, young, purged, stranded, .. } = since;
    sources.databases.keep_progress(readers, &next).await?;
    let unchecked = sources.databases.unread(readers.add_ons);
    let Snapshot { dead_letters, repaired, .. } = whole;
    Ok(Verdict {
        outcome: if violations.is_empty() { Outcome::Clean } else { Outcome::Broken },
        quiet: true,
        restless: Vec::new(),
        waited_s: started.elapsed().as_secs_f64(),
        checked,
        left: next.left.len(),
        young,
        dead_letters,
        purged,
        stranded: stranded.into_values().collect(),
        repaired,
        violations: sorted(violations),
        unchecked,
    })
}

struct Since<'a> {
    sources: Sources,
    readers: &'a Readers,
    margins: Margins,
    last: Progress,
    next: Progress,
    now: DateTime<Utc>,
    checked: Checked,
    young: usize,
    purged: Vec<DeadLetter>,
    stranded: BTreeMap<OrderId, Stranded>,
    /// What all orders hold.
    held: Held,
    /// Orders with violations at the first look.
    suspects: Events,
}

impl<'a> Since<'a> {
    async fn begin(
        mut sources: Sources,
        readers: &'a Readers,
        margins: Margins,
        last: Progress,
    ) -> Result<Self> {
        let now = sources.databases.begin().await?;
        let purged = sources.databases.purged().await?;
        let upto = lowest_id(now - margins.young).max(last.upto);
        let (held, suspects) = (last.held.clone(), Events::new());
        let next = Progress { upto, left: Events::new(), held: held.clone() };
        Ok(Self {
            sources,
            readers,
            margins,
            last,
            next,
            now,
            checked: Checked::default(),
            young: 0,
            purged,
            stranded: BTreeMap::new(),
            held,
            suspects,
        })
    }

    /// Returns the violations of the stock, which is in one database and so certain at once.
    async fn look(&mut self, news: &mut impl FnMut(&str)) -> Result<Vec<Violation>> {
        let products = self.sources.databases.products(self.readers).await?;
        let mut pass = Pass::down_to(self.last.upto);
        while let Some((scope, part)) = pass.next(&mut self.sources.databases, self.readers).await?
        {
            self.close(&scope, part);
            news(&format!("orders read: {}", self.checked.orders));
        }
        self.checked.idempotency_keys = pass.handled;
        let mut again = pass.rest();
        // Those from there on were in a part; only two clocks that differ put them here too.
        drop(again.split_off(&self.last.upto));
        for (order, events) in &self.last.left {
            again.entry(*order).or_default().extend(events);
        }
        for orders in parts(again) {
            let (scope, part) = by_id(&mut self.sources.databases, self.readers, &orders).await?;
            self.close(&scope, part);
        }
        self.sources.databases.end().await?;
        let whole = Snapshot { products, ..Snapshot::default() };
        Ok(check_whole(&whole, &self.held, Quiet::Yes))
    }

    /// Checks a part. Its orders are closed then, but for those that are open, or suspects.
    fn close(&mut self, scope: &Scope, mut part: Snapshot) {
        let Self { last, next, readers: Readers { add_ons, .. }, .. } = self;
        let was_closed = |order| order < last.upto && !last.left.contains_key(&order);
        self.stranded.extend(stranded(add_ons, &part, &self.purged));
        self.held.add(&part, |order| !was_closed(order));
        part.keys_kept_since = Some(self.sources.keys_kept_since());
        let open = set_aside(&mut part, self.now - self.margins.settled, next.upto);
        self.checked.add(&part);
        self.young += open.orders.iter().filter(|order| order.id >= next.upto).count();
        let broken: BTreeSet<_> = check_both(add_ons, scope, &part, &open)
            .iter()
            .filter_map(|found| found.order_id)
            .collect();
        next.held.add(&part, |order| !was_closed(order) && !broken.contains(&order));
        next.held.subtract(&part, |order| was_closed(order) && broken.contains(&order));
        next.held.subtract(&open, was_closed);
        let left = open.orders.iter().map(|order| order.id).chain(broken.iter().copied());
        next.left.extend(none_seen(left.filter(|order| *order < next.upto)));
        self.suspects.extend(none_seen(broken.into_iter()));
        for events in [&mut next.left, &mut self.suspects] {
            add_seen(events, &part);
            add_seen(events, &open);
        }
    }

    /// Looks at the suspects again, beside the dead letters, and returns the violations.
    async fn look_again(&mut self, whole: &mut Snapshot) -> Result<Vec<Violation>> {
        let now = self.sources.databases.begin().await?;
        self.sources.read_letters(whole).await?;
        let mut violations = Vec::new();
        for orders in parts(take(&mut self.suspects)) {
            let (scope, mut part) =
                by_id(&mut self.sources.databases, self.readers, &orders).await?;
            part.dead_letters.clone_from(&whole.dead_letters);
            part.purged.clone_from(&whole.purged);
            part.repaired.clone_from(&whole.repaired);
            part.keys_kept_since = whole.keys_kept_since;
            let open = set_aside(&mut part, now - self.margins.settled, self.next.upto);
            let may_wait =
                part.orders.iter().filter(|order| last_said(order) > Some(now - self.margins.late));
            let may_wait: HashSet<_> = may_wait.map(|order| order.id).collect();
            let found = check_both(self.readers.add_ons, &scope, &part, &open).into_iter();
            violations.extend(found.filter(|found| {
                found.invariant != 5 || found.order_id.is_none_or(|id| !may_wait.contains(&id))
            }));
        }
        self.sources.databases.end().await?;
        Ok(violations)
    }
}

/// The violations of these orders; of open ones, those that no later event can mend.
fn check_both(
    add_ons: &[Step],
    scope: &Scope,
    settled: &Snapshot,
    open: &Snapshot,
) -> Vec<Violation> {
    let mut found = check_orders(add_ons, settled, Quiet::Yes);
    found.append(&mut check_orders(add_ons, open, Quiet::No));
    found.retain(|found| found.order_id.is_some_and(|order| scope.contains(order)));
    found
}

/// Takes the orders out of the part that are still under way.
fn set_aside(part: &mut Snapshot, settled: DateTime<Utc>, upto: OrderId) -> Snapshot {
    let is_open = |order: &&Order| {
        !order.status.is_final() || last_said(order).is_some_and(|at| at > settled)
    };
    let open: HashSet<_> = part.orders.iter().filter(is_open).map(|order| order.id).collect();
    part.split_off(|order| order >= upto || open.contains(&order))
}

fn last_said(order: &Order) -> Option<DateTime<Utc>> {
    order.facts.iter().filter_map(|fact| said_at(fact.event_id)).max()
}
