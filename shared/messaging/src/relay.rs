//! The way out: what a transaction has said is published after it, and deleted once the broker has
//! confirmed it. What a crash leaves behind is found by the sweep.

use crate::{
    Activities, BrokerError, Confirm, CrashPoint, Ledger, Outgoing, Patience, Publisher, Session,
    World, crash_at, spans,
};
use events::EventId;
use std::{sync::Arc, time::Duration};
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
    fresh: mpsc::Sender<Vec<Outgoing>>,
}

impl Outbox {
    /// Never waits: what does not fit is in the table, where the sweep finds it.
    pub fn wake(&self, said: Vec<Outgoing>) {
        if !said.is_empty() {
            let _ = self.fresh.try_send(said);
        }
    }
}

pub struct Relay<L> {
    ledger: L,
    world: Arc<dyn World>,
    fresh: Mutex<mpsc::Receiver<Vec<Outgoing>>>,
    /// How many events go to the broker before their confirms are awaited.
    burst_max: usize,
    activities: Activities,
}

impl<L: Ledger> Relay<L> {
    pub fn new(ledger: L, world: Arc<dyn World>, burst_max: usize) -> (Outbox, Self) {
        let (fresh, receiver) = mpsc::channel(1024);
        let activities = Activities::default();
        let relay = Self { ledger, world, fresh: Mutex::new(receiver), burst_max, activities };
        (Outbox { fresh }, relay)
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
        // What was said while there was no session has become the sweep's.
        while fresh.try_recv().is_ok() {}
        let (mut waiting, max) = (Vec::new(), self.burst_max);
        loop {
            tokio::select! {
                biased;
                count = fresh.recv_many(&mut waiting, max) => if count == 0 { return Ok(()) },
                () = stop.cancelled() => return Ok(()),
            }
            let said: Vec<_> = waiting.drain(..).flatten().collect();
            for burst in said.chunks(self.burst_max) {
                self.publish(burst, &mut *publisher, sent).await?;
            }
        }
    }

    async fn sweep(
        &self,
        session: &dyn Session,
        sent: &mpsc::UnboundedSender<EventId>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let mut publisher = session.publisher().await?;
        let mut patience = Patience::new(self.world.clone());
        loop {
            let busy = self.activities.begin("a look at the outbox");
            let found = self.ledger.claim_unsent(self.burst_max).await;
            drop(busy);
            match found {
                Ok(found) if !found.is_empty() => {
                    self.publish(&found, &mut *publisher, sent).await?;
                    if !stop.is_cancelled() {
                        continue;
                    }
                }
                Ok(_) => patience.relieved("the outbox can be read again"),
                Err(why) => patience.complain(&format!("the outbox cannot be read: {why}")),
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
        let _busy = self.activities.begin("the publication of events");
        let spans: Vec<_> = burst.iter().map(spans::of_publication).collect();
        let publications: Vec<_> =
            burst.iter().zip(&spans).map(|(event, span)| spans::publication(event, span)).collect();
        let confirms = publisher.publish(&publications).await?;
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
