//! Leases dead letters, and records the outcome of each.

use crate::{FetchedMessages, Letter};
use anyhow::Result;
use events::OrderId;
use lapin::Connection;
use messaging::{CrashPoint, crash_at};
use serde::Serialize;
use std::collections::BTreeMap;

/// Dead letters that no other client gets until they are given back.
pub struct Lease {
    fetched: Vec<FetchedMessages>,
    pub taken: Vec<Taken>,
    /// The number of messages in each queue that were not fetched.
    pub unseen: BTreeMap<String, usize>,
}

pub struct Taken {
    pub letter: Letter,
    place: usize,
    tag: u64,
}

/// The outcome for one dead letter.
#[derive(Debug, Serialize)]
pub struct Done {
    pub queue: String,
    pub message_id: Option<String>,
    pub event: Option<String>,
    pub order_id: Option<OrderId>,
    pub outcome: Outcome,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Replayed,
    /// Replayed, or put back, without effect.
    NoEffect,
    Repaired,
    PutBack,
    Purged,
    /// It is where it was, for the given reason.
    Refused,
    /// It is where it was, or at worst also in its queue, where it is handled once.
    Failed,
}

impl Outcome {
    pub const fn is_done(self) -> bool {
        !matches!(self, Self::Refused | Self::Failed)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::NoEffect => "no effect",
            Self::Repaired => "repaired",
            Self::PutBack => "put back",
            Self::Purged => "purged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Lease {
    /// The first `limit` letters in each of these queues, as far as they fit.
    pub async fn take(
        connection: &Connection,
        queues: impl IntoIterator<Item = String>,
        limit: usize,
        fits: impl Fn(&Letter) -> bool,
    ) -> Result<Self> {
        let mut fetched = Vec::new();
        for queue in queues {
            fetched.push(FetchedMessages::take(connection, &queue, limit).await?);
        }
        let lease = Self::new(fetched, fits);
        crash_at(CrashPoint::LettersTaken);
        Ok(lease)
    }

    fn new(fetched: Vec<FetchedMessages>, fits: impl Fn(&Letter) -> bool) -> Self {
        let mut taken = Vec::new();
        let mut unseen = BTreeMap::new();
        for (place, held) in fetched.iter().enumerate() {
            for (tag, message) in &held.messages {
                let letter = Letter { parked: held.queue.clone(), message: message.clone() };
                if fits(&letter) {
                    taken.push(Taken { letter, place, tag: *tag });
                }
            }
            if held.left > 0 {
                unseen.insert(held.queue.clone(), held.left);
            }
        }
        Self { fetched, taken, unseen }
    }

    pub fn letters(&self) -> Vec<&Letter> {
        self.taken.iter().map(|taken| &taken.letter).collect()
    }

    /// Resolved: gone from its queue.
    async fn acknowledge(&self, taken: &Taken) -> Result<()> {
        self.fetched[taken.place].acknowledge(taken.tag).await
    }

    pub async fn give_back(self) -> Result<()> {
        for held in self.fetched {
            held.give_back().await?;
        }
        Ok(())
    }
}

/// Takes it out of the dead letters.
pub async fn finish(lease: &Lease, taken: &Taken, outcome: Outcome, detail: String) -> Done {
    crash_at(CrashPoint::LetterSettled);
    let gone = lease.acknowledge(taken).await;
    crash_at(CrashPoint::LetterGone);
    match gone {
        Ok(()) => Done::of(&taken.letter, outcome, detail),
        Err(why) => {
            let detail = format!("{detail}, and still a dead letter: {why:#}; do it again");
            Done::of(&taken.letter, Outcome::Failed, detail)
        }
    }
}

impl Done {
    /// For people, and whether it is a success.
    pub fn told(&self) -> (String, bool) {
        (format!("{}: {}", self.outcome.word(), self.detail), self.outcome.is_done())
    }

    pub fn of(letter: &Letter, outcome: Outcome, detail: String) -> Self {
        Self {
            queue: letter.parked.clone(),
            message_id: letter.message.id.clone(),
            event: letter.message.kind.clone(),
            order_id: letter.order_id(),
            outcome,
            detail,
        }
    }
}
