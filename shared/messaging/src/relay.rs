//! Publishes the outbox: each event after its commit, deleted once the broker has confirmed it. The
//! sweep finds rows that a crash left behind.

use crate::{
    Activities, BrokerError, Confirm, CrashPoint, Env, MessageStore, Outgoing, Publisher, Retry,
    Session, SessionTask, Unsent, crash_at, spans,
};
use async_trait::async_trait;
use events::EventId;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Confirmed rows are deleted so many at a time, or this long after the first: fewer transactions
/// are cheaper. The sweep would find them after two seconds.
const FORGET_MAX: usize = 1024;
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Hands committed events to the relay, so that it need not query the outbox.
#[derive(Clone)]
pub struct Outbox {
    fresh: mpsc::UnboundedSender<Vec<Outgoing>>,
    room: Arc<Room>,
}

/// The budget in bytes for events that are handed over and not yet published. None without a
/// session: all of them are in the outbox, where the sweep finds them.
struct Room {
    left: AtomicUsize,
    bytes_max: usize,
}

impl Room {
    fn open(&self) {
        self.left.store(self.bytes_max, Ordering::Release);
    }

    fn close(&self) {
        self.left.store(0, Ordering::Release);
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

fn bytes(said: &[Outgoing]) -> usize {
    said.iter().map(Outgoing::bytes).sum()
}

impl Outbox {
    /// Never waits: events that do not fit are in the outbox, where the sweep finds them.
    pub fn wake(&self, said: Vec<Outgoing>) {
        if !said.is_empty() && self.room.take(bytes(&said)) {
            let _ = self.fresh.send(said);
        }
    }
}

/// The events handed over while a session lasts, however it ends.
struct Fresh<'a> {
    room: &'a Room,
    said: &'a mut mpsc::UnboundedReceiver<Vec<Outgoing>>,
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        self.room.close();
        while self.said.try_recv().is_ok() {}
    }
}

pub struct Relay<L> {
    message_store: L,
    env: Arc<dyn Env>,
    fresh: Mutex<mpsc::UnboundedReceiver<Vec<Outgoing>>>,
    room: Arc<Room>,
    /// How many events go to the broker before their confirms are awaited.
    burst_max: usize,
    activities: Activities,
}

impl<L: MessageStore> Relay<L> {
    /// At most `bytes_max` wait in memory to be published.
    pub fn new(
        message_store: L,
        env: Arc<dyn Env>,
        burst_max: usize,
        bytes_max: usize,
    ) -> (Outbox, Self) {
        let (fresh, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Room { left: AtomicUsize::new(0), bytes_max });
        let outbox = Outbox { fresh, room: room.clone() };
        let (fresh, activities) = (Mutex::new(receiver), Activities::default());
        (outbox, Self { message_store, env, fresh, room, burst_max, activities })
    }

    /// Reports its activities there.
    #[must_use]
    pub fn reporting(self, activities: Activities) -> Self {
        Self { activities, ..self }
    }
}

#[async_trait]
impl<L: MessageStore> SessionTask for Relay<L> {
    /// Publishes until the service stops, and then the events still at hand.
    async fn run(
        &self,
        session: &dyn Session,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let (sent, receipts) = mpsc::unbounded_channel();
        let published = async {
            // Moved in, so that the receipts end when both are done.
            let sent = sent;
            // A failure of one ends the other, which then deals with its own burst.
            let over = &stop.child_token();
            let fresh = ending(over, self.publish_fresh(session, &sent, over));
            let (fresh, swept) =
                tokio::join!(fresh, ending(over, self.sweep(session, &sent, over)));
            fresh.and(swept)
        };
        tokio::join!(published, self.forget(receipts)).0
    }
}

async fn ending(
    over: &CancellationToken,
    work: impl Future<Output = Result<(), BrokerError>>,
) -> Result<(), BrokerError> {
    let ended = work.await;
    if ended.is_err() {
        over.cancel();
    }
    ended
}

impl<L: MessageStore> Relay<L> {
    async fn publish_fresh(
        &self,
        session: &dyn Session,
        sent: &mpsc::UnboundedSender<EventId>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let publisher = &*session.publisher().await?;
        let mut fresh = self.fresh.lock().await;
        self.room.open();
        // The sweep publishes what is left in it when the session ends.
        let fresh = Fresh { room: &self.room, said: &mut fresh };
        let (mut waiting, max) = (Vec::new(), self.burst_max);
        // No burst waits for the confirms of the one before.
        let mut bursts = FuturesUnordered::<BoxFuture<'_, Result<(), BrokerError>>>::new();
        let ended = loop {
            tokio::select! {
                biased;
                Some(published) = bursts.next() => if published.is_err() { break published },
                count = fresh.said.recv_many(&mut waiting, max) => {
                    if count == 0 {
                        break Ok(());
                    }
                    let mut said = waiting.drain(..).flatten().peekable();
                    while said.peek().is_some() {
                        let burst: Vec<_> = said.by_ref().take(max).collect();
                        let published = async move {
                            self.publish(&burst, publisher, sent).await?;
                            self.room.give_back(bytes(&burst));
                            Ok(())
                        };
                        bursts.push(published.boxed());
                    }
                }
                () = stop.cancelled() => break Ok(()),
            }
        };
        // After a failure these fail too: any of them may have caused it.
        bursts.fold(ended, async |ended, published| ended.and(published)).await
    }

    async fn sweep(
        &self,
        session: &dyn Session,
        sent: &mpsc::UnboundedSender<EventId>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let publisher = &*session.publisher().await?;
        let mut retry = Retry::new(self.env.clone());
        loop {
            let busy = self.activities.begin("an outbox sweep");
            let found = self.message_store.claim_unsent(self.burst_max).await;
            drop(busy);
            match found {
                Ok(Unsent { together, alone }) => {
                    retry.succeeded("the outbox is readable again");
                    let is_empty = together.is_empty() && alone.is_none();
                    for burst in [together, Vec::from_iter(alone)] {
                        self.publish(&burst, publisher, sent).await?;
                    }
                    if !is_empty && !stop.is_cancelled() {
                        continue;
                    }
                }
                Err(why) => retry.failed(&format!("cannot read the outbox: {why}")),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    async fn publish(
        &self,
        burst: &[Outgoing],
        publisher: &dyn Publisher,
        sent: &mpsc::UnboundedSender<EventId>,
    ) -> Result<(), BrokerError> {
        if burst.is_empty() {
            return Ok(());
        }
        let _busy = self.activities.begin("the publication of events");
        let spans: Vec<_> = burst.iter().map(spans::of_publication).collect();
        let publications: Vec<_> =
            burst.iter().zip(&spans).map(|(event, span)| spans::publication(event, span)).collect();
        let confirms = match publisher.publish(&publications).await {
            Ok(confirms) => confirms,
            Err(why) => {
                let ids: Vec<_> = burst.iter().map(|event| event.id).collect();
                match why {
                    BrokerError::Ended(_) => self.suspect(&ids, &why).await,
                    _ => self.release(&ids).await,
                }
                return Err(why);
            }
        };
        crash_at(CrashPoint::Confirmed);
        let (mut unroutable, mut refused) = (Vec::new(), Vec::new());
        for ((event, span), confirm) in burst.iter().zip(spans).zip(confirms) {
            match confirm {
                Confirm::Stored => {
                    span.end();
                    // The receiver outlives this sender.
                    let _ = sent.send(event.id);
                }
                Confirm::Unroutable => unroutable.push(event.id),
                Confirm::Refused => refused.push(event.id),
            }
        }
        self.postpone(&unroutable, "unroutable: no queue is bound").await;
        self.postpone(&refused, "rejected by a queue").await;
        Ok(())
    }

    /// Most likely the link broke; but the broker may be unable to take one of these.
    async fn suspect(&self, unsent: &[EventId], reason: &BrokerError) {
        match self.message_store.suspect(unsent, &reason.to_string()).await {
            Ok(parked) => {
                for event_id in parked {
                    tracing::error!(%event_id, %reason, "event parked in the outbox: publishing it \
                        ends the session; retrying in a minute");
                }
            }
            Err(why) => tracing::warn!("cannot record failed publications in the outbox: {why}"),
        }
    }

    async fn release(&self, unsent: &[EventId]) {
        if let Err(why) = self.message_store.release(unsent).await {
            tracing::warn!("cannot release unpublished events in the outbox: {why}");
        }
    }

    async fn postpone(&self, unsent: &[EventId], reason: &str) {
        if unsent.is_empty() {
            return;
        }
        tracing::warn!(events = unsent.len(), reason, "events stay in the outbox: {reason}");
        if let Err(why) = self.message_store.postpone(unsent, reason).await {
            tracing::warn!("cannot postpone unpublished events in the outbox: {why}");
        }
    }

    /// Deletes confirmed events. A row that stays because of a failure is published again, which
    /// changes nothing.
    async fn forget(&self, mut receipts: mpsc::UnboundedReceiver<EventId>) {
        let mut sent = Vec::new();
        while receipts.recv_many(&mut sent, FORGET_MAX).await > 0 {
            let more = async {
                while sent.len() < FORGET_MAX && receipts.recv_many(&mut sent, FORGET_MAX).await > 0
                {
                }
            };
            let _ = tokio::time::timeout(FORGET_EVERY, more).await;
            let _busy = self.activities.begin("the deletion of sent events");
            if let Err(why) = self.message_store.forget_sent(&sent).await {
                tracing::warn!(
                    events = sent.len(),
                    "cannot delete published events from the outbox: {why}"
                );
            }
            crash_at(CrashPoint::Forgotten);
            sent.clear();
        }
    }
}

#[cfg(test)]
mod tests;
