//! Where messages go that cannot be handled: to a retry rung, or among the dead letters.

use super::{Consumer, Trouble};
use crate::{
    BrokerError, Confirm, CrashPoint, Ladder, Ledger, Message, Publication, Publisher, Store,
    crash_at, dead_letters, header,
};
use telemetry::{metrics, trace_id};

impl<S: Store, L: Ledger<Tx = S::Tx>> Consumer<S, L> {
    /// Brings troubled messages to a retry rung or to the dead letters; afterwards the broker has
    /// them there, and their first copies may be acknowledged.
    pub(super) async fn send_away(
        &self,
        troubled: Vec<(Message, Trouble)>,
        publisher: &mut dyn Publisher,
    ) -> Result<(), BrokerError> {
        if troubled.is_empty() {
            return Ok(());
        }
        let burst: Vec<_> = troubled
            .into_iter()
            .map(|(message, trouble)| self.diversion(message, trouble))
            .collect();
        let confirms = publisher.publish(&burst).await?;
        if confirms.iter().all(|confirm| *confirm == Confirm::Stored) {
            crash_at(CrashPoint::PutAside);
            let retried = burst.iter().filter(|one| one.exchange.ends_with(".retry")).count();
            metrics::RETRIED.add(retried, [&self.queue.name]);
            metrics::DEAD.add(burst.len() - retried, [&self.queue.name]);
            return Ok(());
        }
        Err(BrokerError::Away(format!("{} cannot put a failed message aside", self.queue.name)))
    }

    fn diversion(&self, message: Message, trouble: Trouble) -> Publication {
        let failures = message.number(header::ATTEMPT).unwrap_or(0).max(0);
        let (reason, failures, wait) = match trouble {
            Trouble::Dead(reason) => (reason, failures, None),
            Trouble::Failed(reason) => {
                let failures = failures.saturating_add(1);
                let climbed = usize::try_from(failures).unwrap_or(usize::MAX);
                (reason, failures, self.ladder.wait(climbed, self.queue.compensates))
            }
        };
        let (order_id, event_id) = (message.correlation_id.clone(), message.id.clone());
        let trace_id = trace_id(message.trace()).map(ToOwned::to_owned);
        let message = message
            .with(header::REASON, reason.as_str())
            .with(header::ATTEMPT, failures)
            .with(header::QUEUE, self.queue.name.as_str())
            .with(header::FAILED_AT, self.world.now().to_rfc3339());
        let queue = self.queue.name.clone();
        if let Some(wait) = wait {
            let rung = Ladder::name(wait);
            tracing::warn!(
                order_id,
                event_id,
                queue,
                reason,
                failures,
                trace_id,
                "retrying in {rung}"
            );
            let message = message.with(header::DELAY, rung);
            Publication { exchange: format!("{}.retry", self.service), routing_key: queue, message }
        } else {
            tracing::error!(order_id, event_id, queue, reason, failures, trace_id, "dead letter");
            let routing_key = dead_letters(&queue);
            Publication { exchange: format!("{}.dlx", self.service), routing_key, message }
        }
    }
}
