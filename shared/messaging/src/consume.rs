//! Handles a service's messages in batches: decodes, commits (`commit.rs`), then acknowledges.

mod alone;
mod aside;
mod intake;
mod messages;
mod repaired;

use crate::{
    Bisection, BrokerError, Committer, CrashPoint, Failure, Kept, Ladder, Ledger, Message, Outbox,
    Progress, Queue, Received, Retry, Session, Store, World, crash_at, spans,
};
use intake::{Arrived, Intake};
use messages::Messages;
use std::{sync::Arc, time::Duration};
use telemetry::Span;
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
        let mut groups = Bisection::new(items);
        while let Some(group) = groups.next_group() {
            match self.insist(stop, || self.transact(&group)).await? {
                Ok(()) => group.into_iter().for_each(|item| item.span.end()),
                Err(Stop::Culprits(culprits)) => {
                    let (innocent, guilty) = split(group, culprits);
                    troubled.extend(guilty);
                    groups.again(innocent);
                }
                Err(Stop::Data(trouble)) => {
                    troubled.extend(groups.halve(group).map(|item| item.blamed(trouble)));
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

    /// Repeats it for as long as only the world is to blame; `None` when told to stop meanwhile.
    async fn insist<T, F: Future<Output = Result<T, Stop>> + Send>(
        &self,
        stop: &CancellationToken,
        work: impl Fn() -> F,
    ) -> Option<Result<T, Stop>> {
        let mut retry = Retry::new(self.world.clone());
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
                    retry.failed(&format!("{} pauses: the database is away: {why}", self.service));
                    if !retry.wait(stop).await {
                        return None;
                    }
                }
                settled => {
                    retry.succeeded(&format!("{} goes on", self.service));
                    return Some(settled);
                }
            }
        }
    }

    async fn transact(&self, group: &[Item<S::State>]) -> Result<(), Stop> {
        let mut messages = Messages { consumer: self, group, fresh: Vec::new() };
        let committer = Committer {
            store: &*self.store,
            ledger: &self.ledger,
            outbox: &self.outbox,
            world: &*self.world,
        };
        committer.commit(&mut messages).await?;
        messages.count();
        Ok(())
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
