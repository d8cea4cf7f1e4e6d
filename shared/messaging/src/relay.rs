//! The way out: what a transaction has said is published after it, and deleted once the broker has
//! confirmed it. What a crash leaves behind is found by the sweep.

use crate::{
    Activities, BrokerError, Confirm, CrashPoint, Ledger, Outgoing, Publisher, Retry, Session,
    Unsent, World, crash_at, spans,
};
use events::EventId;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// What the broker has is deleted so many at a time, or this long after the first: a row that stays
/// a moment longer harms nobody, and every transaction saved helps.
const FORGET_MAX: usize = 1024;
const FORGET_EVERY: Duration = Duration::from_millis(50);

/// Tells the relay what has just been committed, so that it need not look.
#[derive(Clone)]
pub struct Outbox {
    fresh: mpsc::UnboundedSender<Vec<Outgoing>>,
    room: Arc<Room>,
}

/// For what is handed over and not yet published, in bytes. None while there is no session: all of
/// it is in the table, where the sweep finds it.
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
    /// Never waits: what does not fit is in the table, where the sweep finds it.
    pub fn wake(&self, said: Vec<Outgoing>) {
        if !said.is_empty() && self.room.take(bytes(&said)) {
            let _ = self.fresh.send(said);
        }
    }
}

/// What is handed over for as long as a session lasts, however that ends.
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
    ledger: L,
    world: Arc<dyn World>,
    fresh: Mutex<mpsc::UnboundedReceiver<Vec<Outgoing>>>,
    room: Arc<Room>,
    /// How many events go to the broker before their confirms are awaited.
    burst_max: usize,
    activities: Activities,
}

impl<L: Ledger> Relay<L> {
    /// At most `bytes_max` wait in memory to be published.
    pub fn new(
        ledger: L,
        world: Arc<dyn World>,
        burst_max: usize,
        bytes_max: usize,
    ) -> (Outbox, Self) {
        let (fresh, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Room { left: AtomicUsize::new(0), bytes_max });
        let outbox = Outbox { fresh, room: room.clone() };
        let (fresh, activities) = (Mutex::new(receiver), Activities::default());
        (outbox, Self { ledger, world, fresh, room, burst_max, activities })
    }

    /// Notes there what it is doing.
    #[must_use]
    pub fn reporting(self, activities: Activities) -> Self {
        Self { activities, ..self }
    }

    /// Publishes until told to stop, and then what is still at hand.
    pub async fn run(
        &self,
        session: &dyn Session,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let (sent, receipts) = mpsc::unbounded_channel();
        let published = async {
            // Moved in, so that the receipts end when both are done.
            let sent = sent;
            tokio::try_join!(
                self.publish_fresh(session, &sent, stop),
                self.sweep(session, &sent, stop)
            )
        };
        let (published, ()) = tokio::join!(published, self.forget(receipts));
        published.map(|_| ())
    }

    async fn publish_fresh(
        &self,
        session: &dyn Session,
        sent: &mpsc::UnboundedSender<EventId>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let mut publisher = session.publisher().await?;
        let mut fresh = self.fresh.lock().await;
        self.room.open();
        // What is left in it when the session ends is the sweep's.
        let fresh = Fresh { room: &self.room, said: &mut fresh };
        let (mut waiting, max) = (Vec::new(), self.burst_max);
        loop {
            tokio::select! {
                biased;
                count = fresh.said.recv_many(&mut waiting, max) => if count == 0 { return Ok(()) },
                () = stop.cancelled() => return Ok(()),
            }
            let said: Vec<_> = waiting.drain(..).flatten().collect();
            let taken = bytes(&said);
            for burst in said.chunks(self.burst_max) {
                self.publish(burst, &mut *publisher, sent).await?;
            }
            self.room.give_back(taken);
        }
    }

    async fn sweep(
        &self,
        session: &dyn Session,
        sent: &mpsc::UnboundedSender<EventId>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let mut publisher = session.publisher().await?;
        let mut retry = Retry::new(self.world.clone());
        loop {
            let busy = self.activities.begin("a look at the outbox");
            let found = self.ledger.claim_unsent(self.burst_max).await;
            drop(busy);
            match found {
                Ok(Unsent { together, alone }) => {
                    retry.succeeded("the outbox can be read again");
                    let is_empty = together.is_empty() && alone.is_none();
                    for burst in [together, Vec::from_iter(alone)] {
                        self.publish(&burst, &mut *publisher, sent).await?;
                    }
                    if !is_empty && !stop.is_cancelled() {
                        continue;
                    }
                }
                Err(why) => retry.failed(&format!("the outbox cannot be read: {why}")),
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
        publisher: &mut dyn Publisher,
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
                if matches!(why, BrokerError::Ended(_)) {
                    self.suspect(burst, &why).await;
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
                    // The receiver lives as long as we do.
                    let _ = sent.send(event.id);
                }
                Confirm::Unroutable => unroutable.push(event.id),
                Confirm::Refused => refused.push(event.id),
            }
        }
        self.postpone(&unroutable, "no queue listens to it").await;
        self.postpone(&refused, "a queue refused it").await;
        Ok(())
    }

    /// Most likely the link broke; but one of these may be what the broker cannot take.
    async fn suspect(&self, burst: &[Outgoing], reason: &BrokerError) {
        let ids: Vec<_> = burst.iter().map(|event| event.id).collect();
        match self.ledger.suspect(&ids, &reason.to_string()).await {
            Ok(parked) => {
                for event_id in parked {
                    tracing::error!(%event_id, %reason, "an event cannot be published: it is \
                        parked in the outbox, and tried again in a minute");
                }
            }
            Err(why) => tracing::warn!("cannot note in the outbox what was not taken: {why}"),
        }
    }

    async fn postpone(&self, unsent: &[EventId], reason: &str) {
        if unsent.is_empty() {
            return;
        }
        tracing::warn!(events = unsent.len(), reason, "events stay in the outbox: {reason}");
        if let Err(why) = self.ledger.postpone(unsent, reason).await {
            tracing::warn!("cannot note in the outbox that events were not taken: {why}");
        }
    }

    /// Deletes what the broker has. A row that stays for a failure is published once more, which
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
            if let Err(why) = self.ledger.forget_sent(&sent).await {
                tracing::warn!(
                    events = sent.len(),
                    "published events are still in the outbox: {why}"
                );
            }
            crash_at(CrashPoint::Forgotten);
            sent.clear();
        }
    }
}

#[cfg(test)]
mod tests;
