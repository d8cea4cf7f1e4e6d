//! What ends the process cannot be caught, only found out: a message that came back more than once
//! is handled alone, and a committed row knows of it before anything looks into it. So whoever ends
//! the process again and again is dead in the end, and none of its neighbours.

use super::{Consumer, Trouble, Troubled};
use crate::{Ledger, Message, Store, spans};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// The first return may be anything: a deployment, a lost connection.
pub const SUSPECT_AFTER: u32 = 2;
/// Starts alone that did not come to an end.
const STARTS_MAX: u32 = 3;

impl<S: Store, L: Ledger<Tx = S::Tx>> Consumer<S, L> {
    /// `None` when told to stop before it was handled.
    pub(super) async fn handle_alone(
        &self,
        queue: usize,
        message: Message,
        stop: &CancellationToken,
    ) -> Option<Vec<Troubled>> {
        let name = &self.queues[queue].name;
        let suspect = fingerprint(name, &message);
        let starts =
            self.insist(stop, || async { Ok(self.ledger.start_alone(&suspect).await?) }).await?;
        let handled = if starts.is_ok_and(|starts| starts > STARTS_MAX) {
            let reason = format!("it has ended the process {STARTS_MAX} times");
            spans::of_reaction(name, &message).fail(&reason);
            Some(vec![Troubled { queue, message, trouble: Trouble::Dead(reason) }])
        } else {
            self.handle(vec![(queue, message)], stop).await
        };
        // We are still here, so it is innocent this time; as a dead letter it may be tried again.
        self.insist(stop, || async { Ok(self.ledger.end_alone(&suspect).await?) }).await?.ok();
        handled
    }
}

/// Also of a message without an id.
fn fingerprint(queue: &str, message: &Message) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [queue.as_bytes(), message.id.as_deref().unwrap_or("").as_bytes()] {
        digest.update(part);
        digest.update([0]);
    }
    digest.update(&message.body);
    digest.finalize()[..16].to_vec()
}
