//! Tells whoever listens which orders have ended in this process, a batch at a time. Costs nothing
//! where nobody listens.

use crate::order::Status;
use events::OrderId;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    pub order_id: OrderId,
    pub status: Status,
}

#[derive(Clone)]
pub struct Endings(broadcast::Sender<Arc<[Ending]>>);

/// Batches that a listener may be behind before it misses some.
const BEHIND_MAX: usize = 1024;

impl Default for Endings {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND_MAX).0)
    }
}

impl Endings {
    pub fn tell(&self, ended: impl Iterator<Item = (OrderId, Status)>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let ended: Arc<[_]> = ended.map(|(order_id, status)| Ending { order_id, status }).collect();
        if !ended.is_empty() {
            // Whoever listened may have gone this moment.
            let _ = self.0.send(ended);
        }
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<[Ending]>> {
        self.0.subscribe()
    }
}
