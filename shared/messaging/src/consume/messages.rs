//! Turns a group of messages into a unit of work: the inbox keeps repeated and forged messages out,
//! the reactions decide.

use super::{Consumer, Item, Stop, Trouble};
use crate::{
    CrashPoint, MessageStore, Received, Reply, Seen, States, Store, Wanted, Work, crash_at,
    queue::panic_text,
};
use reaction::Decision;
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};
use telemetry::{metrics, trace_id};

pub(super) struct Messages<'a, S: Store, L: MessageStore<Tx = S::Tx>> {
    pub consumer: &'a Consumer<S, L>,
    pub group: &'a [Item<S::State>],
    /// Those that were not handled before, with their places in the group.
    pub fresh: Vec<(usize, &'a Item<S::State>)>,
}

impl<S: Store, L: MessageStore<Tx = S::Tx>> Work<S, L> for Messages<'_, S, L> {
    type Stop = Stop;
    type Locked = Vec<Seen>;

    const COMMITTED: CrashPoint = CrashPoint::Committed;

    /// Also those of messages that turn out to be handled.
    fn wanted(&self) -> Wanted {
        let received = || self.group.iter().map(|item| &item.received);
        let orders: BTreeSet<_> = received().map(Received::order_id).collect();
        let touched: BTreeSet<_> = received().flat_map(|one| &one.touches).copied().collect();
        Wanted { orders: orders.into_iter().collect(), touched: touched.into_iter().collect() }
    }

    /// Inserts the group into the inbox.
    async fn lock<'a>(
        &self,
        message_store: &'a L,
        tx: &mut S::Tx,
    ) -> Result<Reply<'a, Vec<Seen>>, Stop> {
        self.consumer.refuse_repaired(tx, self.group).await?;
        let keys: Vec<_> = self.once().map(|(_, item)| item.received.handled.clone()).collect();
        Ok(message_store.insert_inbox(tx, &keys))
    }

    fn decide(&mut self, seen: Vec<Seen>, states: &mut States<'_, S>) -> Result<(), Stop> {
        crash_at(CrashPoint::Noted);
        self.sort_out(seen)?;
        let mut culprits = Vec::new();
        for (place, item) in &self.fresh {
            let received = &item.received;
            let state = states.get(received.order_id(), &received.touches);
            match catch_unwind(AssertUnwindSafe(|| (received.decide)(state))) {
                Ok(Decision::Nothing) => self.log(received, "nothing to do"),
                Ok(Decision::Change { state, says }) => {
                    let answers: Vec<_> = says.iter().map(|said| said.event).collect();
                    self.log(received, &answers.join(", "));
                    states.change(received.order_id(), state, says, &received.cause);
                }
                Ok(Decision::Impossible(reason)) => culprits.push((*place, Trouble::Dead(reason))),
                Err(panic) => culprits.push((*place, Trouble::Failed(panic_text(&*panic)))),
            }
        }
        Stop::blame(culprits)
    }
}

impl<'a, S: Store, L: MessageStore<Tx = S::Tx>> Messages<'a, S, L> {
    /// The messages of the group, each once, with their places.
    fn once(&self) -> impl Iterator<Item = (usize, &'a Item<S::State>)> + use<'a, S, L> {
        let mut seen = BTreeSet::new();
        self.group.iter().enumerate().filter(move |(_, item)| {
            seen.insert((item.received.handled.event_id, &item.received.handled.digest))
        })
    }

    /// Keeps the messages to handle now.
    fn sort_out(&mut self, seen: Vec<Seen>) -> Result<(), Stop> {
        let mut forged = Vec::new();
        let mut fresh = Vec::new();
        for ((place, item), seen_before) in self.once().zip(seen) {
            match seen_before {
                Seen::New => fresh.push((place, item)),
                Seen::Before => tracing::debug!(
                    queue = self.consumer.queues[item.queue].name,
                    order_id = %item.received.order_id(),
                    event_id = %item.received.handled.event_id,
                    "duplicate delivery ignored"
                ),
                Seen::Forged => {
                    let reason = "another body was already handled under this message_id";
                    forged.push((place, Trouble::Dead(reason.into())));
                }
            }
        }
        self.fresh = fresh;
        Stop::blame(forged)
    }

    pub fn count(&self) {
        for (place, queue) in self.consumer.queues.iter().enumerate() {
            let delivered = self.group.iter().filter(|item| item.queue == place).count();
            let new = self.fresh.iter().filter(|(_, item)| item.queue == place).count();
            metrics::HANDLED.add(new, [&queue.name]);
            metrics::DUPLICATES.add(delivered - new, [&queue.name]);
        }
    }

    fn log(&self, received: &Received<S::State>, answer: &str) {
        tracing::info!(
            order_id = %received.order_id(),
            event_id = %received.handled.event_id,
            event = received.handled.event,
            answer,
            trace_id = trace_id(received.cause.trace.as_deref()),
            "{} heard {}",
            self.consumer.service,
            received.handled.event
        );
    }
}
