//! Quarantines messages that crash the process: a message that was redelivered more than once is
//! handled alone, after a committed row has counted the attempt. A message that crashes the process
//! again and again becomes a dead letter, and its neighbours do not.

use super::{Consumer, Left, Trouble, Troubled};
use crate::{Delivery, Message, MessageStore, Refusals, Store, spans};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// The first redelivery has many harmless causes: a deployment, a lost connection.
pub const SUSPECT_AFTER: u32 = 2;
/// Maximum of attempts alone that did not end.
const STARTS_MAX: u32 = 3;

impl<S: Store, L: MessageStore<Tx = S::Tx>> Consumer<S, L> {
    /// Once the attempt is counted, it is made, however long the database is unavailable: that is
    /// not the message's fault.
    pub(super) async fn handle_alone(
        &self,
        queue: usize,
        delivery: Delivery,
        stop: &CancellationToken,
        refusals: &mut Refusals,
    ) -> Result<Vec<Troubled>, Left> {
        let name = &self.queues[queue].name;
        let suspect = fingerprint(name, &delivery.message);
        let patience = Some(self.progress.patience());
        let attempt = self.env.new_id();
        let begin = || async { Ok(self.message_store.quarantine_start(&suspect, attempt).await?) };
        let starts = self.insist(stop, patience, begin).await?;
        let handled = if starts.is_ok_and(|starts| starts > STARTS_MAX) {
            let reason = format!("quarantined: it has crashed the process {STARTS_MAX} times");
            let Delivery { message, tag, .. } = delivery;
            spans::of_reaction(name, &message).fail(&reason);
            Ok(vec![Troubled { queue, tag, message, trouble: Trouble::Dead(reason) }])
        } else {
            self.handle(vec![(queue, delivery)], stop, None, refusals).await
        };
        // The process has survived, so the message is cleared; as a dead letter it may be tried
        // again.
        let end = || async { Ok(self.message_store.quarantine_end(&suspect).await?) };
        self.insist(stop, None, end).await?.ok();
        handled
    }
}

/// Works for a message without an id too.
fn fingerprint(queue: &str, message: &Message) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [queue.as_bytes(), message.id.as_deref().unwrap_or("").as_bytes()] {
        digest.update(part);
        digest.update([0]);
    }
    digest.update(&message.body);
    digest.finalize()[..16].to_vec()
}
