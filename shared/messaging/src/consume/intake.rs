//! Where batches come from: whatever waits in a service's queues, one after the other, so that one
//! transaction handles all of it.

use super::Consumer;
use crate::{BrokerError, Deliveries, Delivery, Ledger, Session, Store};
use futures::future::select_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often it looks whether it has caught up.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A batch waits for company, since what a transaction costs is shared by all that are in it: so
/// many times what the last one took, which is more the less the machine has to spare.
const LINGER: u32 = 2;
const LINGER_MAX: Duration = Duration::from_millis(50);
/// What is handled is acknowledged so long after the first of it, or when it fills a batch: each
/// acknowledgement is written to the broker's log, which holds up what is published meanwhile. A
/// message that comes again since a crash was faster changes nothing.
const SETTLE_AFTER: Duration = Duration::from_millis(50);

/// A delivery, and the place of its queue among the service's.
pub(super) type Arrived = (usize, Delivery);

pub(super) struct Intake {
    sources: Vec<Source>,
    batch_max: usize,
    /// The last batch took what there was, so that a queue may be empty now.
    had_room: bool,
    /// How many the last batch were, and since when they are at work.
    last: Option<(usize, Instant)>,
    /// Handed out, and not acknowledged.
    unsettled: usize,
    /// When those of them that are handled are to be acknowledged, if there are any.
    settle_at: Option<Instant>,
}

struct Source {
    queue: usize,
    deliveries: Box<dyn Deliveries>,
    /// Older messages may still be in the queue, or in the hands of another process.
    is_behind: bool,
}

impl Intake {
    pub(super) async fn open<S: Store, L: Ledger<Tx = S::Tx>>(
        consumer: &Consumer<S, L>,
        session: &dyn Session,
    ) -> Result<Self, BrokerError> {
        let mut sources = Vec::with_capacity(consumer.queues.len());
        for (place, queue) in consumer.queues.iter().enumerate() {
            let deliveries = session.consume(&queue.name).await?;
            sources.push(Source { queue: place, deliveries, is_behind: true });
        }
        Ok(Self {
            sources,
            batch_max: consumer.batch_max,
            had_room: true,
            last: None,
            unsettled: 0,
            settle_at: None,
        })
    }

    /// `None` when told to stop. Empty now and then, for as long as it is behind; `emptied` is told
    /// of each queue that it is no longer behind with.
    pub(super) async fn next(
        &mut self,
        stop: &CancellationToken,
        emptied: impl FnMut(usize),
    ) -> Result<Option<Vec<Arrived>>, BrokerError> {
        let linger = self
            .last
            .take()
            .map_or(Duration::ZERO, |(handled, since)| linger_after(handled, since.elapsed()));
        let ready = self.look(emptied).await?;
        if !ready.is_empty() {
            self.unsettled += ready.len();
            return Ok(Some(ready));
        }
        let look_at = Instant::now() + LOOK_EVERY;
        let mut batch = loop {
            let (is_behind, settle_at) = (self.is_behind(), self.settle_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.settle().await?;
                    return Ok(None);
                }
                batch = self.arrive() => {
                    break batch.ok_or_else(|| BrokerError::away("it ended a consumer"))?;
                }
                () = sleep_until(settle_at.unwrap_or(look_at)), if settle_at.is_some() => {
                    self.settle().await?;
                }
                () = sleep_until(look_at), if is_behind => break Vec::new(),
            }
        };
        if !linger.is_zero() && batch.len() < self.batch_max {
            sleep(linger).await;
            self.fill(&mut batch);
        }
        self.last = Some((batch.len(), Instant::now()));
        self.had_room = batch.len() < self.batch_max;
        self.unsettled += batch.len();
        Ok(Some(batch))
    }

    /// All that was handed out is handled: it is acknowledged, now or soon.
    pub(super) async fn handled(&mut self) -> Result<(), BrokerError> {
        if self.unsettled == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let settle_at = *self.settle_at.get_or_insert(now + SETTLE_AFTER);
        if self.unsettled >= self.batch_max || settle_at <= now {
            self.settle().await?;
        }
        Ok(())
    }

    /// Acknowledges it now.
    pub(super) async fn settle(&mut self) -> Result<(), BrokerError> {
        for source in &mut self.sources {
            source.deliveries.settle().await?;
        }
        (self.unsettled, self.settle_at) = (0, None);
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.sources.iter().any(|source| source.is_behind)
    }

    /// Is there anything left of what was said before? What it finds is to be handled first.
    async fn look(&mut self, mut emptied: impl FnMut(usize)) -> Result<Vec<Arrived>, BrokerError> {
        if !self.had_room {
            return Ok(Vec::new());
        }
        for source in self.sources.iter_mut().filter(|source| source.is_behind) {
            if source.deliveries.waiting().await? > 0 {
                continue;
            }
            let ready = source.ready(self.batch_max);
            if !ready.is_empty() {
                return Ok(ready);
            }
            source.is_behind = false;
            emptied(source.queue);
        }
        Ok(Vec::new())
    }

    /// Waits for one message, and takes what else is there. `None` is the end of the session. May
    /// be dropped while it waits.
    async fn arrive(&mut self) -> Option<Vec<Arrived>> {
        // Another queue comes first each time, so that none is kept waiting by a full one.
        self.sources.rotate_left(1);
        let max = self.batch_max;
        let first = self.sources.iter_mut().map(|Source { queue, deliveries, .. }| {
            Box::pin(async { (*queue, deliveries.next(max).await) })
        });
        let ((queue, first), ..) = select_all(first).await;
        let mut batch: Vec<_> = first?.into_iter().map(|delivery| (queue, delivery)).collect();
        self.fill(&mut batch);
        Some(batch)
    }

    /// With what is here already.
    fn fill(&mut self, batch: &mut Vec<Arrived>) {
        for source in &mut self.sources {
            let room = self.batch_max.saturating_sub(batch.len());
            batch.extend(source.ready(room));
        }
    }
}

/// None after one: whoever is alone is not kept waiting.
fn linger_after(handled: usize, took: Duration) -> Duration {
    if handled > 1 { took.saturating_mul(LINGER).min(LINGER_MAX) } else { Duration::ZERO }
}

impl Source {
    fn ready(&mut self, max: usize) -> Vec<Arrived> {
        let ready = self.deliveries.ready(max).into_iter();
        ready.map(|delivery| (self.queue, delivery)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_does_not_wait_and_nobody_waits_for_long() {
        let took = Duration::from_millis(3);
        assert_eq!(linger_after(1, took), Duration::ZERO);
        assert_eq!(linger_after(2, took), Duration::from_millis(6));
        assert_eq!(linger_after(2, Duration::MAX), LINGER_MAX);
    }
}
