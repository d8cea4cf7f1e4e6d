//! Refuses dead letters that were repaired: the repair went on as another event. The old message
//! may still be in the DLQ or in its publisher's history, and be replayed; the consumer's database
//! records the repair.

use super::{Consumer, Item, Stop, Trouble};
use crate::{Message, MessageStore, Store, header};

impl<S: Store, L: MessageStore<Tx = S::Tx>> Consumer<S, L> {
    /// Fails messages that were repaired. Only those that have failed before, or are replayed,
    /// are checked.
    pub(super) async fn refuse_repaired(
        &self,
        tx: &mut L::Tx,
        group: &[Item<S::State>],
    ) -> Result<(), Stop> {
        let again: Vec<_> =
            group.iter().enumerate().filter(|(_, item)| has_failed(&item.message)).collect();
        if again.is_empty() {
            return Ok(());
        }
        let letters: Vec<_> = again
            .iter()
            .map(|(_, item)| (self.queues[item.queue].name.as_str(), &item.received.handled))
            .collect();
        let repaired = self.message_store.repaired(tx, &letters).await?;
        let culprits: Vec<_> = again
            .iter()
            .filter_map(|(place, item)| {
                let new = repaired.get(&item.received.handled.event_id)?;
                let why = format!("it was repaired and republished as event {new}: purge it");
                Some((*place, Trouble::Dead(why)))
            })
            .collect();
        Stop::blame(culprits)
    }
}

pub(super) fn has_failed(message: &Message) -> bool {
    [header::REPLAYED, header::FAILED_AT].iter().any(|name| message.headers.contains_key(*name))
}
