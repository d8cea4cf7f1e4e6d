//! Routes messages that cannot be handled: to a retry tier or to the dead letters.

use super::{Arrived, Consumer, Held, Trouble, Troubled};
use crate::{
    BrokerError, Confirm, CrashPoint, Delivery, Message, MessageStore, Publication, Publisher,
    RetrySchedule, Store, crash_at, dead_letters, header,
};
use telemetry::{metrics, trace_id};

/// A reason may quote the message, and headers must fit into a frame.
const REASON_MAX: usize = 1024;

/// A failed message on its way to a retry tier or to the dead letters.
pub(super) struct Diverted {
    pub queue: usize,
    pub tag: u64,
    pub sent: Publication,
}

/// Whether it is a dead letter that waits for room in its queue.
pub(super) fn is_letter((_, delivery): &Arrived) -> bool {
    delivery.message.headers.contains_key(header::DEAD)
}

impl<S: Store, L: MessageStore<Tx = S::Tx>> Consumer<S, L> {
    /// Publishes failed messages to a retry tier or to the dead letters; afterwards the broker has
    /// them there, and the originals may be acknowledged, except those that are held. A dead letter
    /// that its queue refuses waits on the last tier, and returns as one.
    pub(super) async fn send_away(
        &self,
        diverted: Vec<Diverted>,
        held: &mut Held,
        publisher: &dyn Publisher,
    ) -> Result<(), BrokerError> {
        let mut refused = self.publish(diverted, publisher).await?;
        let unbound = refused
            .extract_if(.., |(one, why)| *why == Confirm::Unroutable && is_retry(&one.sent))
            .map(|(one, _)| Diverted { sent: self.without_retry(&one.sent), ..one });
        let unbound = unbound.collect();
        refused.extend(self.publish(unbound, publisher).await?);
        for (one, _) in &refused {
            metrics::REFUSED.add(1, [&self.queues[one.queue].name]);
        }
        let refused = refused.into_iter().map(|(one, _)| one);
        let (letters, mut refused): (Vec<_>, Vec<_>) =
            refused.partition(|one| !is_retry(&one.sent));
        let detours: Vec<_> = letters.iter().filter_map(|letter| self.detour(letter)).collect();
        let confirms = send(&detours, publisher).await?;
        let (mut waiting, mut confirms) = (Vec::new(), confirms.into_iter());
        for letter in letters {
            let waits = confirms.next() == Some(Confirm::Stored);
            if waits { &mut waiting } else { &mut refused }.push(letter);
        }
        crash_at(CrashPoint::PutAside);
        held.tell(&waiting, "they wait in the last retry queue, and return from it");
        held.hold(refused);
        Ok(())
    }

    /// Returns what is not stored, and why.
    async fn publish(
        &self,
        diverted: Vec<Diverted>,
        publisher: &dyn Publisher,
    ) -> Result<Vec<(Diverted, Confirm)>, BrokerError> {
        let burst: Vec<_> = diverted.iter().map(|one| one.sent.clone()).collect();
        let confirms = send(&burst, publisher).await?;
        let mut refused = Vec::new();
        for (one, confirm) in diverted.into_iter().zip(confirms) {
            if confirm == Confirm::Stored {
                let count = if is_retry(&one.sent) { &metrics::RETRIED } else { &metrics::DEAD };
                count.add(1, [&self.queues[one.queue].name]);
            } else {
                refused.push((one, confirm));
            }
        }
        Ok(refused)
    }

    /// The way of a refused dead letter to the last retry tier; none without tiers.
    fn detour(&self, letter: &Diverted) -> Option<Publication> {
        let tier = RetrySchedule::name(*self.schedule.tiers().last()?);
        let message = letter.sent.message.clone();
        let message = message.with(header::DEAD, letter.sent.routing_key.as_str());
        Some(self.retry(&self.queues[letter.queue].name, message.with(header::DELAY, tier)))
    }

    /// A dead letter that is back from its detour.
    pub(super) fn letter(&self, (queue, delivery): Arrived) -> Diverted {
        let Delivery { mut message, tag, .. } = delivery;
        for header in [header::DEAD, header::DELAY] {
            message.headers.remove(header);
        }
        Diverted { queue, tag, sent: self.dead(&self.queues[queue].name, message) }
    }

    /// As a dead letter: nothing is bound for its wait, since the topology was made with other
    /// retry delays.
    fn without_retry(&self, sent: &Publication) -> Publication {
        let tier = sent.message.text(header::DELAY).unwrap_or_default();
        let failed = sent.message.text(header::REASON).unwrap_or_default();
        let reason = format!("RETRY_DELAYS has {tier} and RabbitMQ has no queue for it: {failed}");
        let event_id = sent.message.id.clone();
        tracing::error!(event_id, queue = sent.routing_key, reason, "dead letter");
        let mut message = sent.message.clone().with(header::REASON, reason);
        message.headers.remove(header::DELAY);
        self.dead(&sent.routing_key, message)
    }

    fn dead(&self, queue: &str, message: Message) -> Publication {
        let exchange = format!("{}.dlx", self.service);
        Publication { exchange, routing_key: dead_letters(queue), message }
    }

    fn retry(&self, queue: &str, message: Message) -> Publication {
        let exchange = format!("{}.retry", self.service);
        Publication { exchange, routing_key: queue.into(), message }
    }

    pub(super) fn diversion(&self, troubled: Troubled) -> Diverted {
        let Troubled { queue: place, tag, message, trouble } = troubled;
        let queue = &self.queues[place];
        let failures = message.number(header::ATTEMPT).unwrap_or(0).max(0);
        let (reason, failures, wait) = match trouble {
            Trouble::Dead(reason) => (reason, failures, None),
            // Not its fault: it never becomes a dead letter for it.
            Trouble::Refused(reason) => (reason, failures, self.schedule.tiers().last().copied()),
            Trouble::Failed(reason) => {
                let failures = failures.saturating_add(1);
                let climbed = usize::try_from(failures).unwrap_or(usize::MAX);
                (reason, failures, self.schedule.wait(climbed, queue.compensates))
            }
        };
        let reason = shortened(reason);
        let (order_id, event_id) = (message.correlation_id.clone(), message.id.clone());
        let trace_id = trace_id(message.trace()).map(ToOwned::to_owned);
        let message = message
            .with(header::REASON, reason.as_str())
            .with(header::ATTEMPT, failures)
            .with(header::QUEUE, queue.name.as_str())
            .with(header::FAILED_AT, self.env.now().to_rfc3339());
        let queue = queue.name.clone();
        let sent = if let Some(wait) = wait {
            let tier = RetrySchedule::name(wait);
            tracing::warn!(
                order_id,
                event_id,
                queue,
                reason,
                failures,
                trace_id,
                "retrying in {tier}"
            );
            self.retry(&queue, message.with(header::DELAY, tier))
        } else {
            tracing::error!(order_id, event_id, queue, reason, failures, trace_id, "dead letter");
            self.dead(&queue, message)
        };
        Diverted { queue: place, tag, sent }
    }
}

pub(super) fn is_retry(sent: &Publication) -> bool {
    sent.exchange.ends_with(".retry")
}

async fn send(
    burst: &[Publication],
    publisher: &dyn Publisher,
) -> Result<Vec<Confirm>, BrokerError> {
    if burst.is_empty() { Ok(Vec::new()) } else { publisher.publish(burst).await }
}

fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_an_end() {
        assert_eq!(shortened("short".into()), "short");
        let long = shortened("é".repeat(40_000));
        assert!(long.ends_with("é…") && long.len() <= REASON_MAX + "…".len(), "{}", long.len());
    }
}
