//! Handles a service's messages in batches: decodes, commits (`commit.rs`), then acknowledges.

mod batcher;
mod failed;
mod held;
mod messages;
mod quarantine;
mod repaired;

use crate::{
    Bisection, BrokerError, Committer, CrashPoint, Delivery, Env, Failure, Message, MessageStore,
    Outbox, Progress, Queue, Received, Refusals, Retention, Retry, RetrySchedule, Session,
    SessionTask, Store, crash_at, spans,
};
use async_trait::async_trait;
use batcher::{Arrived, Batcher};
use failed::{Diverted, is_letter};
use held::Held;
use messages::Messages;
use repaired::has_failed;
use std::{sync::Arc, time::Duration};
use telemetry::Span;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A database outage longer than this ends the session: messages may have piled up meanwhile.
const LONG: Duration = Duration::from_secs(5);

pub struct Consumer<S: Store, L: MessageStore<Tx = S::Tx>> {
    pub service: &'static str,
    pub queues: Vec<Queue<S::State>>,
    pub store: Arc<S>,
    pub message_store: L,
    pub outbox: Outbox,
    pub schedule: RetrySchedule,
    pub retention: Retention,
    pub env: Arc<dyn Env>,
    pub batch_max: usize,
    pub progress: Arc<Progress>,
}

/// The failure of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// Permanent: a dead letter at once.
    Dead(String),
    /// This attempt failed: to the next tier of the retry schedule.
    Failed(String),
    /// The database refuses it for now: to the last tier, without counting.
    Refused(String),
}

impl Trouble {
    fn why(&self) -> &str {
        let (Self::Dead(why) | Self::Failed(why) | Self::Refused(why)) = self;
        why
    }
}

/// A message in the loop.
struct Item<S> {
    queue: usize,
    tag: u64,
    message: Message,
    received: Received<S>,
    span: Span,
}

/// A message that was not handled, and why.
struct Troubled {
    queue: usize,
    tag: u64,
    message: Message,
    trouble: Trouble,
}

impl<S> Item<S> {
    fn blamed(self, trouble: Trouble) -> Troubled {
        self.span.fail(trouble.why());
        Troubled { queue: self.queue, tag: self.tag, message: self.message, trouble }
    }
}

/// Why messages in hand are left to the broker.
enum Left {
    /// The service stops.
    Stopping,
    /// The database has been unavailable for long.
    Away,
}

/// Why a transaction was rolled back.
enum Stop {
    /// The database was unavailable: retried.
    Transient(String),
    /// The database answers, and refuses the transaction for now.
    Refused(String),
    Blamed(Blame),
}

/// The messages for which a transaction failed: the same transaction would fail again.
enum Blame {
    /// These messages of the batch, by place.
    Known(Vec<(usize, Trouble)>),
    /// One message of the batch, and it is unknown which.
    Unknown(Trouble),
}

impl Stop {
    /// An error if there are culprits.
    fn blame(culprits: Vec<(usize, Trouble)>) -> Result<(), Self> {
        if culprits.is_empty() { Ok(()) } else { Err(Self::Blamed(Blame::Known(culprits))) }
    }

    /// What handles messages may be refused because of one of them.
    fn of_messages(self) -> Self {
        match self {
            Self::Refused(why) => Self::Blamed(Blame::Unknown(Trouble::Refused(why))),
            other => other,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let reason = failure.to_string();
        match failure {
            Failure::Transient(_) => Self::Transient(reason),
            Failure::Refused(_) => Self::Refused(reason),
            Failure::Permanent(why) => {
                // The state may change; a value that the database refuses stays refused.
                let is_dead = database::is_value(&why);
                let trouble = if is_dead { Trouble::Dead(reason) } else { Trouble::Failed(reason) };
                Self::Blamed(Blame::Unknown(trouble))
            }
        }
    }
}

#[async_trait]
impl<S: Store, L: MessageStore<Tx = S::Tx>> SessionTask for Consumer<S, L> {
    /// Checks for the end only between batches: no transaction is ever dropped half-way.
    async fn run(
        &self,
        session: &dyn Session,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        // What comes must not wait here while another copy could handle it.
        if self
            .insist(stop, None, || async { Ok(self.message_store.probe().await?) })
            .await
            .is_err()
        {
            return Ok(());
        }
        self.progress.consumes(self.queues.iter().map(|queue| queue.name.clone()));
        let mut batcher = Batcher::open(self, session).await?;
        let publisher = session.publisher().await?;
        let emptied = |queue: usize| self.progress.emptied(&self.queues[queue].name);
        let mut held = Held::default();
        while let Some(batch) = batcher.next(stop, emptied).await? {
            let mut diverted = match self.handle_all(batch, stop).await {
                Ok(diverted) => diverted,
                Err(Left::Stopping) => break,
                Err(Left::Away) => {
                    let why = "session closed: the database has been unavailable for long";
                    return Err(BrokerError::away(why));
                }
            };
            diverted.extend(held.due());
            if diverted.is_empty() {
                let _busy = self.progress.activities.begin("an acknowledgement");
                batcher.handled().await?;
            } else {
                let _busy = self.progress.activities.begin("the routing of failed messages");
                // First what is handled: it is, however the routing of the others ends.
                batcher.ack_except(held.tags().chain(held::tags(&diverted))).await?;
                self.send_away(diverted, &mut held, &*publisher).await?;
                // At once: a crash would leave two copies of each.
                batcher.ack_except(held.tags()).await?;
            }
            if self.progress.is_away() {
                // All of it is handled: the next session need not see it again.
                batcher.ack().await?;
                return Err(BrokerError::away("session closed: the database stalled too long"));
            }
        }
        Ok(())
    }
}

impl<S: Store, L: MessageStore<Tx = S::Tx>> Consumer<S, L> {
    /// Handles the whole batch, and returns the messages that failed on their way elsewhere.
    async fn handle_all(
        &self,
        batch: Vec<Arrived>,
        stop: &CancellationToken,
    ) -> Result<Vec<Diverted>, Left> {
        let (letters, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_letter);
        let is_suspect = |(_, delivery): &Arrived| delivery.returns >= quarantine::SUSPECT_AFTER;
        let (suspects, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_suspect);
        let (patience, refusals) =
            (Some(self.progress.patience()), &mut Refusals::new(self.env.clone()));
        let mut troubled = self.handle(batch, stop, patience, refusals).await?;
        for (queue, suspect) in suspects {
            troubled.extend(self.handle_alone(queue, suspect, stop, refusals).await?);
        }
        let letters = letters.into_iter().map(|letter| self.letter(letter));
        Ok(letters.chain(troubled.into_iter().map(|one| self.diversion(one))).collect())
    }

    async fn handle(
        &self,
        batch: Vec<Arrived>,
        stop: &CancellationToken,
        patience: Option<Duration>,
        refusals: &mut Refusals,
    ) -> Result<Vec<Troubled>, Left> {
        if !batch.is_empty() {
            crash_at(CrashPoint::Received);
        }
        let mut troubled = Vec::new();
        let mut items = Vec::with_capacity(batch.len());
        for (queue, Delivery { message, tag, .. }) in batch {
            let from = &self.queues[queue];
            let span = spans::of_reaction(&from.name, &message);
            let decoded = from.decode(&message, span.traceparent_or(message.trace()));
            match decoded.and_then(|received| self.in_time(received)) {
                Ok(received) => items.push(Item { queue, tag, message, received, span }),
                Err(reason) => {
                    span.fail(&reason);
                    let trouble = Trouble::Dead(reason);
                    troubled.push(Troubled { queue, tag, message, trouble });
                }
            }
        }
        // One that was set aside must not fail the others each time it returns.
        let (again, fresh) = items.into_iter().partition(|item| has_failed(&item.message));
        let mut groups = Bisection::new(again);
        groups.again(fresh);
        while let Some(group) = groups.next_group() {
            match self.insist(stop, patience, || self.transact(&group)).await? {
                Ok(()) => group.into_iter().for_each(|item| item.span.end()),
                Err(Blame::Known(culprits)) => {
                    let (innocent, guilty) = split(group, culprits);
                    troubled.extend(guilty);
                    groups.again(innocent);
                }
                Err(Blame::Unknown(trouble @ Trouble::Refused(_))) => {
                    let what = format!("{} is held up: {}", self.service, trouble.why());
                    let aside = refusals.refused(&mut groups, group, &what, stop).await;
                    if !aside.is_empty() {
                        let tier = self.schedule.tiers().last().copied().unwrap_or_default();
                        self.progress.held_up.refused(trouble.why(), tier);
                    }
                    troubled.extend(aside.into_iter().map(|item| item.blamed(trouble.clone())));
                }
                Err(Blame::Unknown(trouble)) => {
                    troubled.extend(groups.halve(group).map(|item| item.blamed(trouble)));
                }
            }
        }
        Ok(troubled)
    }

    /// Rejects events older than the inbox's retention: whether they were handled is unknown.
    fn in_time(&self, received: Received<S::State>) -> Result<Received<S::State>, String> {
        self.retention.check(received.said_at, self.env.now()).map(|()| received)
    }

    /// Retries as long as the failure is transient, and as the patience lasts.
    async fn insist<T, F: Future<Output = Result<T, Stop>> + Send>(
        &self,
        stop: &CancellationToken,
        patience: Option<Duration>,
        work: impl Fn() -> F,
    ) -> Result<Result<T, Blame>, Left> {
        let mut retry = Retry::new(self.env.clone());
        let began = Instant::now();
        let _waits = self.progress.activities.begin_wait("a transaction");
        let settled = loop {
            let busy = self.progress.activities.begin("a transaction");
            let done = work().await;
            drop(busy);
            let why = match done {
                Ok(done) => break Ok(done),
                Err(Stop::Blamed(blame)) => break Err(blame),
                Err(Stop::Transient(why) | Stop::Refused(why)) => why,
            };
            retry.failed(&format!("{} is paused: database unavailable: {why}", self.service));
            if began.elapsed() > LONG {
                self.progress.away();
            }
            if patience.is_some_and(|patience| began.elapsed() > patience) {
                self.progress.gives_back();
                return Err(Left::Away);
            }
            if !retry.wait(stop).await {
                return Err(Left::Stopping);
            }
        };
        retry.succeeded(&format!("{} goes on", self.service));
        Ok(settled)
    }

    async fn transact(&self, group: &[Item<S::State>]) -> Result<(), Stop> {
        let mut messages = Messages { consumer: self, group, fresh: Vec::new() };
        let committer = Committer {
            store: &*self.store,
            message_store: &self.message_store,
            outbox: &self.outbox,
            env: &*self.env,
        };
        committer.commit(&mut messages).await.map_err(Stop::of_messages)?;
        self.progress.committed();
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
