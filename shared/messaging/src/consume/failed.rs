//! Routes messages that cannot be handled: to a retry tier or to the dead letters.

use super::{Consumer, Trouble, Troubled};
use crate::{
    BrokerError, Confirm, CrashPoint, Message, MessageStore, Publication, Publisher, RetrySchedule,
    Store, crash_at, dead_letters, header,
};
use telemetry::{metrics, trace_id};

/// A reason may quote the message, and headers must fit into a frame.
const REASON_MAX: usize = 1024;

impl<S: Store, L: MessageStore<Tx = S::Tx>> Consumer<S, L> {
    /// Publishes failed messages to a retry tier or to the dead letters; afterwards the broker has
    /// them there, and the originals may be acknowledged.
    pub(super) async fn send_away(
        &self,
        troubled: Vec<Troubled>,
        publisher: &dyn Publisher,
    ) -> Result<(), BrokerError> {
        let names: Vec<_> =
            troubled.iter().map(|one| self.queues[one.queue].name.as_str()).collect();
        let mut burst: Vec<_> = troubled.into_iter().map(|one| self.diversion(one)).collect();
        let mut confirms = publisher.publish(&burst).await?;
        for (confirm, sent) in confirms.iter_mut().zip(&mut burst) {
            if *confirm == Confirm::Unroutable && is_retry(sent) {
                *sent = self.without_retry(sent);
                *confirm = publisher.publish(std::slice::from_ref(sent)).await?[0];
            }
        }
        if confirms.iter().all(|confirm| *confirm == Confirm::Stored) {
            crash_at(CrashPoint::PutAside);
            for (name, sent) in names.into_iter().zip(&burst) {
                let count = if is_retry(sent) { &metrics::RETRIED } else { &metrics::DEAD };
                count.add(1, [name]);
            }
            return Ok(());
        }
        Err(BrokerError::Away(format!(
            "{} cannot move a failed message to its retry or dead-letter queue",
            self.service
        )))
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

    fn diversion(&self, troubled: Troubled) -> Publication {
        let Troubled { queue, message, trouble } = troubled;
        let queue = &self.queues[queue];
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
        if let Some(wait) = wait {
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
            let message = message.with(header::DELAY, tier);
            Publication { exchange: format!("{}.retry", self.service), routing_key: queue, message }
        } else {
            tracing::error!(order_id, event_id, queue, reason, failures, trace_id, "dead letter");
            self.dead(&queue, message)
        }
    }
}

fn is_retry(sent: &Publication) -> bool {
    sent.exchange.ends_with(".retry")
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
