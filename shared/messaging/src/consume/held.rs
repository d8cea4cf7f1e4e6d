//! Holds failed messages that no queue takes: they stay unacknowledged, and are published again
//! after a pause. Says which queues refuse messages, and what to do.

use super::failed::{Diverted, is_retry};
use crate::{Publication, header};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

const AGAIN_EVERY: Duration = Duration::from_secs(5);
/// A queue that refuses messages is logged once in this time.
const TELL_EVERY: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct Held {
    messages: Vec<Diverted>,
    again_at: Option<Instant>,
    /// When a queue was logged last, by its name.
    told: BTreeMap<String, Instant>,
}

impl Held {
    pub fn tags(&self) -> impl Iterator<Item = (usize, u64)> {
        tags(&self.messages)
    }

    /// Those that are to be published again now.
    pub fn due(&mut self) -> Vec<Diverted> {
        if self.again_at.is_none_or(|at| at > Instant::now()) {
            return Vec::new();
        }
        self.again_at = None;
        std::mem::take(&mut self.messages)
    }

    pub fn hold(&mut self, refused: Vec<Diverted>) {
        if refused.is_empty() {
            return;
        }
        self.tell(&refused, "they stay unacknowledged, and are published again every 5 s");
        self.messages.extend(refused);
        self.again_at.get_or_insert_with(|| Instant::now() + AGAIN_EVERY);
    }

    /// Logs the queues that have refused these.
    pub fn tell(&mut self, refused: &[Diverted], so: &str) {
        let now = Instant::now();
        self.told.retain(|_, at| now.duration_since(*at) < TELL_EVERY);
        let mut by_queue = BTreeMap::<_, u64>::new();
        for one in refused {
            *by_queue.entry(refusing(&one.sent)).or_default() += 1;
        }
        for (queue, messages) in by_queue {
            if self.told.contains_key(&queue) {
                continue;
            }
            tracing::error!(
                queue,
                messages,
                "{queue} refuses failed messages: {so}; replay or purge what it has, or raise its \
                 limit (max-length); if it is missing, import what `saga topology` prints"
            );
            self.told.insert(queue, now);
        }
    }
}

pub(super) fn tags(diverted: &[Diverted]) -> impl Iterator<Item = (usize, u64)> {
    diverted.iter().map(|one| (one.queue, one.tag))
}

/// The queue for which this was.
fn refusing(sent: &Publication) -> String {
    if !is_retry(sent) {
        return sent.routing_key.clone();
    }
    let tier = sent.message.text(header::DELAY).unwrap_or_default();
    format!("{}.{tier}", sent.exchange)
}
