//! Batches deliveries from all of a service's queues, so that one transaction handles all of them.

use super::Consumer;
use crate::{BrokerError, Deliveries, Delivery, MessageStore, Session, Store};
use futures::future::select_all;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often the depths are polled while there is a backlog.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a queue is asked for a message while none arrives, where there is another node to go
/// to: a node that is cut off from the others keeps its connections, and delivers nothing.
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// Linger: a batch shares the cost of its transaction, so it waits as long as the last one took,
/// which grows with the machine's load; at most this long.
const LINGER_MAX: Duration = Duration::from_millis(50);
/// Deferrable messages share the transaction of the next urgent message; without one, they are
/// handled this long after the first of them.
const COMPANY_MAX: Duration = Duration::from_millis(50);
/// Handled messages are acknowledged this long after the first of them, or when they fill a batch:
/// each acknowledgement is written to the broker's log, which delays publishing. If a crash is
/// faster, the inbox recognises the redelivered messages.
const ACK_AFTER: Duration = Duration::from_millis(250);

/// A delivery, and the place of its queue among the service's.
pub(super) type Arrived = (usize, Delivery);

pub(super) struct Batcher {
    sources: Vec<Source>,
    probes: bool,
    /// By queue: whether its messages are deferrable.
    can_wait: Vec<bool>,
    batch_max: usize,
    /// The last batch took all there was, so a queue may be empty now.
    had_room: bool,
    /// The number of urgent messages in the last batch, and the start of its handling.
    last: Option<(usize, Instant)>,
    /// Handed out, and not acknowledged.
    unacked: usize,
    /// When the handled ones of them are to be acknowledged, if there are any.
    ack_at: Option<Instant>,
}

struct Source {
    queue: usize,
    deliveries: Box<dyn Deliveries>,
    /// Older messages may still be in the queue, or with another process.
    is_behind: bool,
    /// The deliveries that are not to be acknowledged.
    held: BTreeSet<u64>,
}

impl Batcher {
    pub(super) async fn open<S: Store, L: MessageStore<Tx = S::Tx>>(
        consumer: &Consumer<S, L>,
        session: &dyn Session,
    ) -> Result<Self, BrokerError> {
        let mut sources = Vec::with_capacity(consumer.queues.len());
        for (place, queue) in consumer.queues.iter().enumerate() {
            let deliveries = session.consume(&queue.name).await?;
            let (is_behind, held) = (true, BTreeSet::new());
            sources.push(Source { queue: place, deliveries, is_behind, held });
        }
        Ok(Self {
            sources,
            probes: session.has_others(),
            can_wait: consumer.queues.iter().map(|queue| queue.can_wait).collect(),
            batch_max: consumer.batch_max,
            had_room: true,
            last: None,
            unacked: 0,
            ack_at: None,
        })
    }

    /// `None` when the service stops. Returns empty batches now and then while there is a backlog,
    /// or a message is held; calls `emptied` for each queue whose backlog is done.
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
            self.unacked += ready.len();
            return Ok(Some(ready));
        }
        let look_at = Instant::now() + LOOK_EVERY;
        let mut probe_at = Instant::now() + PROBE_EVERY;
        let mut batch = loop {
            let (looks, ack_at) = (self.is_behind() || self.holds(), self.ack_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.ack().await?;
                    return Ok(None);
                }
                batch = self.arrive(self.batch_max) => break batch?,
                () = sleep_until(ack_at.unwrap_or(look_at)), if ack_at.is_some() => {
                    self.ack().await?;
                }
                () = sleep_until(look_at), if looks => break Vec::new(),
                () = sleep_until(probe_at), if self.probes => {
                    // Another queue each time, since `arrive` turns them.
                    self.sources[0].deliveries.is_empty().await?;
                    probe_at = Instant::now() + PROBE_EVERY;
                }
            }
        };
        if !batch.is_empty() && self.urgent(&batch) == 0 {
            self.wait_for_company(&mut batch, stop).await?;
        } else if !linger.is_zero() && batch.len() < self.batch_max {
            sleep(linger).await;
            self.fill(&mut batch, self.batch_max);
        }
        self.last = Some((self.urgent(&batch), Instant::now()));
        self.had_room = batch.len() < self.batch_max;
        self.unacked += batch.len();
        Ok(Some(batch))
    }

    /// The whole batch is handled: acknowledges it, now or soon.
    pub(super) async fn handled(&mut self) -> Result<(), BrokerError> {
        if self.unacked == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let ack_at = *self.ack_at.get_or_insert(now + ACK_AFTER);
        if self.unacked >= self.batch_max || ack_at <= now {
            self.ack().await?;
        }
        Ok(())
    }

    /// Acknowledges all but these, which are held until the next call.
    pub(super) async fn ack_except(
        &mut self,
        held: impl Iterator<Item = (usize, u64)>,
    ) -> Result<(), BrokerError> {
        let mut by_queue = vec![BTreeSet::new(); self.sources.len()];
        held.for_each(|(queue, tag)| _ = by_queue[queue].insert(tag));
        for source in &mut self.sources {
            source.held = std::mem::take(&mut by_queue[source.queue]);
        }
        self.ack().await
    }

    /// Acknowledges all handled messages now.
    pub(super) async fn ack(&mut self) -> Result<(), BrokerError> {
        for source in &mut self.sources {
            source.deliveries.ack(&source.held).await?;
        }
        (self.unacked, self.ack_at) = (0, None);
        Ok(())
    }

    fn holds(&self) -> bool {
        self.sources.iter().any(|source| !source.held.is_empty())
    }

    fn is_behind(&self) -> bool {
        self.sources.iter().any(|source| source.is_behind)
    }

    /// Checks for a backlog. Messages that it finds are to be handled first.
    async fn look(&mut self, mut emptied: impl FnMut(usize)) -> Result<Vec<Arrived>, BrokerError> {
        if !self.had_room {
            return Ok(Vec::new());
        }
        for source in self.sources.iter_mut().filter(|source| source.is_behind) {
            if !source.deliveries.is_empty().await? {
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

    /// Waits for an urgent message, until the batch is full or the first of its messages has waited
    /// long enough.
    async fn wait_for_company(
        &mut self,
        batch: &mut Vec<Arrived>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let until = Instant::now() + COMPANY_MAX;
        while batch.len() < self.batch_max && self.urgent(batch) == 0 {
            let room = self.batch_max - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                more = self.arrive(room) => batch.extend(more?),
                () = sleep_until(until) => break,
            }
        }
        Ok(())
    }

    /// The number of urgent messages.
    fn urgent(&self, batch: &[Arrived]) -> usize {
        batch.iter().filter(|(queue, _)| !self.can_wait[*queue]).count()
    }

    /// Waits for one message, and takes what else has arrived, `max` at most. May be dropped while
    /// it waits.
    async fn arrive(&mut self, max: usize) -> Result<Vec<Arrived>, BrokerError> {
        // Another queue comes first each time, so that a full one does not starve the others.
        self.sources.rotate_left(1);
        let first = self.sources.iter_mut().map(|Source { queue, deliveries, .. }| {
            Box::pin(async { (*queue, deliveries.next(max).await) })
        });
        let ((queue, first), ..) = select_all(first).await;
        let first = first.ok_or_else(|| BrokerError::away("it ended a consumer"))?;
        let mut batch: Vec<_> = first.into_iter().map(|delivery| (queue, delivery)).collect();
        self.fill(&mut batch, max);
        Ok(batch)
    }

    /// Fills the batch with what has already arrived.
    fn fill(&mut self, batch: &mut Vec<Arrived>, max: usize) {
        for source in &mut self.sources {
            let room = max.saturating_sub(batch.len());
            batch.extend(source.ready(room));
        }
    }
}

/// No linger after a batch of one.
fn linger_after(handled: usize, took: Duration) -> Duration {
    if handled > 1 { took.min(LINGER_MAX) } else { Duration::ZERO }
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
        assert_eq!(linger_after(2, took), took);
        assert_eq!(linger_after(2, Duration::MAX), LINGER_MAX);
    }
}
