//! Handles a service's messages in batches: inbox, load, decide, save, outbox, commit, acknowledge,
//! in this order.

mod alone;
mod aside;
mod intake;
mod repaired;

use crate::{
    BrokerError, CrashPoint, Failure, Kept, Known, Ladder, Ledger, Message, Novelty, Outbox,
    Outgoing, Patience, Progress, Queue, Received, Session, Store, World, crash_at,
    queue::panic_text, spans,
};
use events::OrderId;
use intake::{Arrived, Intake};
use saga::Decision;
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use telemetry::{Span, metrics, trace_id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A database that is away for longer is no hiccup: who knows what was said meanwhile.
const LONG: Duration = Duration::from_secs(5);

pub struct Consumer<S: Store, L: Ledger<Tx = S::Tx>> {
    pub service: &'static str,
    pub queues: Vec<Queue<S::State>>,
    pub store: Arc<S>,
    pub ledger: L,
    pub outbox: Outbox,
    pub ladder: Ladder,
    pub kept: Kept,
    pub world: Arc<dyn World>,
    pub batch_max: usize,
    pub progress: Arc<Progress>,
}

/// What is wrong with a message that cannot be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It never can be: dead at once.
    Dead(String),
    /// This attempt failed: it climbs the ladder.
    Failed(String),
}

/// A message on its way through the loop.
struct Item<S> {
    queue: usize,
    message: Message,
    received: Received<S>,
    span: Span,
}

/// A message that was not handled, and why.
struct Troubled {
    queue: usize,
    message: Message,
    trouble: Trouble,
}

impl<S> Item<S> {
    fn blamed(self, trouble: Trouble) -> Troubled {
        let (Trouble::Dead(why) | Trouble::Failed(why)) = &trouble;
        self.span.fail(why);
        Troubled { queue: self.queue, message: self.message, trouble }
    }
}

/// Why a transaction was given up.
enum Stop {
    /// These messages of the batch, by place, are to blame.
    Culprits(Vec<(usize, Trouble)>),
    /// One message of the batch is to blame, and only the database knows which.
    Data(Trouble),
    World(String),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            // The state may change; a value that the database cannot take stays what it is.
            Failure::Data(why) if database::is_value(&why) => {
                Self::Data(Trouble::Dead(format!("{why:#}")))
            }
            Failure::Data(why) => Self::Data(Trouble::Failed(format!("{why:#}"))),
            Failure::World(why) => Self::World(format!("{why:#}")),
        }
    }
}

impl<S: Store, L: Ledger<Tx = S::Tx>> Consumer<S, L> {
    /// Consumes until told to stop (`Ok`) or until the session breaks. Looks up only between
    /// batches: no transaction is ever dropped half-way.
    pub async fn run(
        &self,
        session: &dyn Session,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let mut intake = Intake::open(self, session).await?;
        let mut publisher = session.publisher().await?;
        let emptied = |queue: usize| self.progress.emptied(&self.queues[queue].name);
        while let Some(batch) = intake.next(stop, emptied).await? {
            let Some(troubled) = self.handle_all(batch, stop).await else {
                break;
            };
            if troubled.is_empty() {
                let _busy = self.progress.activities.begin("an acknowledgement");
                intake.handled().await?;
            } else {
                let _busy = self.progress.activities.begin("the way of failed messages");
                self.send_away(troubled, &mut *publisher).await?;
                // At once: a crash would leave two of each.
                intake.settle().await?;
            }
            if self.progress.is_away() {
                return Err(BrokerError::away("nothing was heard for a while, so all begins anew"));
            }
        }
        Ok(())
    }

    /// Everything in the batch is handled afterwards, but for what is returned. `None` when told to
    /// stop while the world is not ready: the broker keeps the batch.
    async fn handle_all(
        &self,
        batch: Vec<Arrived>,
        stop: &CancellationToken,
    ) -> Option<Vec<Troubled>> {
        let is_suspect = |(_, delivery): &Arrived| delivery.returns >= alone::SUSPECT_AFTER;
        let (suspects, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_suspect);
        let batch = batch.into_iter().map(|(queue, delivery)| (queue, delivery.message)).collect();
        let mut troubled = self.handle(batch, stop).await?;
        for (queue, suspect) in suspects {
            troubled.extend(self.handle_alone(queue, suspect.message, stop).await?);
        }
        Some(troubled)
    }

    async fn handle(
        &self,
        batch: Vec<(usize, Message)>,
        stop: &CancellationToken,
    ) -> Option<Vec<Troubled>> {
        if !batch.is_empty() {
            crash_at(CrashPoint::Received);
        }
        let mut troubled = Vec::new();
        let mut items = Vec::with_capacity(batch.len());
        for (queue, message) in batch {
            let from = &self.queues[queue];
            let span = spans::of_reaction(&from.name, &message);
            let decoded = from.decode(&message, span.traceparent_or(message.trace()));
            match decoded.and_then(|received| self.in_time(received)) {
                Ok(received) => items.push(Item { queue, message, received, span }),
                Err(reason) => {
                    span.fail(&reason);
                    troubled.push(Troubled { queue, message, trouble: Trouble::Dead(reason) });
                }
            }
        }
        let mut groups = vec![items];
        while let Some(group) = groups.pop() {
            match self.commit(&group, stop).await? {
                Ok(()) => group.into_iter().for_each(|item| item.span.end()),
                Err(Stop::Culprits(culprits)) => {
                    let (innocent, guilty) = split(group, culprits);
                    troubled.extend(guilty);
                    groups.push(innocent);
                }
                // Only the culprit pays: one by one.
                Err(Stop::Data(_)) if group.len() > 1 => {
                    groups.extend(group.into_iter().rev().map(|item| vec![item]));
                }
                Err(Stop::Data(trouble)) => {
                    troubled.extend(group.into_iter().map(|item| item.blamed(trouble.clone())));
                }
                Err(Stop::World(why)) => {
                    let failed = |item: Item<_>| item.blamed(Trouble::Failed(why.clone()));
                    troubled.extend(group.into_iter().map(failed));
                }
            }
        }
        Some(troubled)
    }

    /// Of what is older than the keys nobody knows whether it was handled.
    fn in_time(&self, received: Received<S::State>) -> Result<Received<S::State>, String> {
        self.kept.check(received.said_at, self.world.now()).map(|()| received)
    }

    /// One transaction, all of it.
    async fn commit(
        &self,
        group: &[Item<S::State>],
        stop: &CancellationToken,
    ) -> Option<Result<(), Stop>> {
        self.insist(stop, || self.transact(group)).await
    }

    /// Repeats it for as long as only the world is to blame; `None` when told to stop meanwhile.
    async fn insist<T, F: Future<Output = Result<T, Stop>> + Send>(
        &self,
        stop: &CancellationToken,
        work: impl Fn() -> F,
    ) -> Option<Result<T, Stop>> {
        let mut patience = Patience::new(self.world.clone());
        let began = Instant::now();
        let _waits = self.progress.activities.begin_wait("a transaction");
        loop {
            let busy = self.progress.activities.begin("a transaction");
            let done = work().await;
            drop(busy);
            match done {
                Err(Stop::World(why)) => {
                    if began.elapsed() > LONG {
                        self.progress.away();
                    }
                    patience
                        .complain(&format!("{} pauses: the database is away: {why}", self.service));
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return None,
                        () = patience.wait() => {}
                    }
                }
                settled => {
                    patience.relieved(&format!("{} goes on", self.service));
                    return Some(settled);
                }
            }
        }
    }

    async fn transact(&self, group: &[Item<S::State>]) -> Result<(), Stop> {
        if group.is_empty() {
            return Ok(());
        }
        let mut tx = self.ledger.begin().await?;
        self.refuse_repaired(&mut tx, group).await?;
        let fresh = self.note(&mut tx, group).await?;
        crash_at(CrashPoint::Noted);
        if fresh.is_empty() {
            self.ledger.commit(tx).await?;
            self.count(group, &fresh);
            return Ok(());
        }
        let orders: BTreeSet<OrderId> =
            fresh.iter().map(|(_, item)| item.received.order_id()).collect();
        let orders: Vec<OrderId> = orders.into_iter().collect();
        let touched: BTreeSet<_> =
            fresh.iter().flat_map(|(_, item)| &item.received.touches).copied().collect();
        let touched: Vec<_> = touched.into_iter().collect();
        let mut known = self.store.load(&mut tx, &orders, &touched).await?;
        crash_at(CrashPoint::Loaded);
        let said = self.decide(&fresh, &mut known)?;
        self.store.save(&mut tx, &known).await?;
        if !said.is_empty() {
            self.ledger.enqueue(&mut tx, &said).await?;
        }
        self.ledger.commit(tx).await?;
        crash_at(CrashPoint::Committed);
        self.outbox.wake(said);
        self.store.committed(known);
        self.count(group, &fresh);
        Ok(())
    }

    fn count(&self, group: &[Item<S::State>], fresh: &[(usize, &Item<S::State>)]) {
        for (place, queue) in self.queues.iter().enumerate() {
            let delivered = group.iter().filter(|item| item.queue == place).count();
            let new = fresh.iter().filter(|(_, item)| item.queue == place).count();
            metrics::HANDLED.add(new, [&queue.name]);
            metrics::DUPLICATES.add(delivered - new, [&queue.name]);
        }
    }

    /// Puts the batch into the idempotency table, and locks its orders; what is left is to be
    /// handled now.
    async fn note<'a>(
        &self,
        tx: &mut L::Tx,
        group: &'a [Item<S::State>],
    ) -> Result<Vec<(usize, &'a Item<S::State>)>, Stop> {
        let mut seen = BTreeSet::new();
        let once: Vec<_> = group
            .iter()
            .enumerate()
            .filter(|(_, item)| {
                seen.insert((item.received.handled.event_id, &item.received.handled.digest))
            })
            .collect();
        let keys: Vec<_> = once.iter().map(|(_, item)| item.received.handled.clone()).collect();
        let novelties = self.ledger.note(tx, &keys).await?;
        let mut fresh = Vec::with_capacity(once.len());
        let mut forged = Vec::new();
        for ((place, item), novelty) in once.into_iter().zip(novelties) {
            match novelty {
                Novelty::New => fresh.push((place, item)),
                Novelty::HandledBefore => tracing::debug!(
                    queue = self.queues[item.queue].name,
                    order_id = %item.received.order_id(),
                    event_id = %item.received.handled.event_id,
                    "a repeated delivery has no effect"
                ),
                Novelty::Forged => {
                    let reason = "another content was handled under this message_id";
                    forged.push((place, Trouble::Dead(reason.into())));
                }
            }
        }
        if forged.is_empty() { Ok(fresh) } else { Err(Stop::Culprits(forged)) }
    }

    fn decide(
        &self,
        fresh: &[(usize, &Item<S::State>)],
        known: &mut S::Batch,
    ) -> Result<Vec<Outgoing>, Stop> {
        let mut said = Vec::new();
        let mut culprits = Vec::new();
        for (place, item) in fresh {
            let received = &item.received;
            let state = known.of(received.order_id(), &received.touches);
            match catch_unwind(AssertUnwindSafe(|| (received.decide)(state))) {
                Ok(Decision::Nothing) => self.log(received, "nothing to do"),
                Ok(Decision::Change { state, says }) => {
                    known.keep(received.order_id(), state);
                    let answers: Vec<_> = says.iter().map(|said| said.event).collect();
                    self.log(received, &answers.join(", "));
                    said.extend(
                        says.into_iter()
                            .map(|event| Outgoing::new(&*self.world, event, Some(&received.cause))),
                    );
                }
                Ok(Decision::Impossible(reason)) => culprits.push((*place, Trouble::Dead(reason))),
                Err(panic) => culprits.push((*place, Trouble::Failed(panic_text(&*panic)))),
            }
        }
        if culprits.is_empty() { Ok(said) } else { Err(Stop::Culprits(culprits)) }
    }

    fn log(&self, received: &Received<S::State>, answer: &str) {
        tracing::info!(
            order_id = %received.order_id(),
            event_id = %received.handled.event_id,
            event = received.handled.event,
            answer,
            trace_id = trace_id(received.cause.trace.as_deref()),
            "{} heard {}",
            self.service,
            received.handled.event
        );
    }
}

type Split<S> = (Vec<Item<S>>, Vec<Troubled>);

fn split<S>(group: Vec<Item<S>>, mut culprits: Vec<(usize, Trouble)>) -> Split<S> {
    let (mut innocent, mut guilty) = (Vec::new(), Vec::new());
    for (place, item) in group.into_iter().enumerate() {
        match culprits.iter().position(|(culprit, _)| *culprit == place) {
            Some(found) => guilty.push(item.blamed(culprits.swap_remove(found).1)),
            None => innocent.push(item),
        }
    }
    (innocent, guilty)
}
