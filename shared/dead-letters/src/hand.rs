//! Dead letters in hand, and what became of each.

use crate::{Held, Letter};
use anyhow::Result;
use events::OrderId;
use lapin::Connection;
use messaging::{CrashPoint, crash_at};
use serde::Serialize;
use std::collections::BTreeMap;

/// Dead letters that nobody else is given until they are given back.
pub struct Hand {
    helds: Vec<Held>,
    pub taken: Vec<Taken>,
    /// How many more lie in a queue than were looked at.
    pub unseen: BTreeMap<String, usize>,
}

pub struct Taken {
    pub letter: Letter,
    place: usize,
    tag: u64,
}

/// What became of one dead letter.
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
    /// Replayed, or put back, and of no consequence.
    NoEffect,
    Repaired,
    PutBack,
    Purged,
    /// It is where it was, and for a reason.
    Refused,
    /// It is where it was, or at worst there as well as in its queue, where it is handled once.
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

impl Hand {
    /// What fits of the first `limit` in each of these queues.
    pub async fn take(
        connection: &Connection,
        queues: impl IntoIterator<Item = String>,
        limit: usize,
        fits: impl Fn(&Letter) -> bool,
    ) -> Result<Self> {
        let mut helds = Vec::new();
        for queue in queues {
            helds.push(Held::take(connection, &queue, limit).await?);
        }
        let hand = Self::new(helds, fits);
        crash_at(CrashPoint::LettersTaken);
        Ok(hand)
    }

    fn new(helds: Vec<Held>, fits: impl Fn(&Letter) -> bool) -> Self {
        let mut taken = Vec::new();
        let mut unseen = BTreeMap::new();
        for (place, held) in helds.iter().enumerate() {
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
        Self { helds, taken, unseen }
    }

    pub fn letters(&self) -> Vec<&Letter> {
        self.taken.iter().map(|taken| &taken.letter).collect()
    }

    /// It is done with: gone from its queue.
    async fn acknowledge(&self, taken: &Taken) -> Result<()> {
        self.helds[taken.place].acknowledge(taken.tag).await
    }

    pub async fn give_back(self) -> Result<()> {
        for held in self.helds {
            held.give_back().await?;
        }
        Ok(())
    }
}

/// Takes it out of the dead letters.
pub async fn finish(hand: &Hand, taken: &Taken, outcome: Outcome, detail: String) -> Done {
    crash_at(CrashPoint::LetterSettled);
    let gone = hand.acknowledge(taken).await;
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
