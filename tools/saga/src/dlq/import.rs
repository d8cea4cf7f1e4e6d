//! Exported lines on their way back: as they were, or mended.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use dead_letters::{
    Books, Deed, Done, Fate, Hand, Letter, Outcome, REPAIRED_MEANWHILE, Taken, finish, into, now,
};
use messaging::{Publication, RealWorld, World};

use super::books::Repair;
use super::{DeadLetters, Line, Pick};

/// What is to become of the lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Into the queue that handles it; else to the dead letters.
    pub replay: bool,
    /// As another event, also where nothing was changed.
    pub new_id: bool,
    /// Of each queue of dead letters, so many are searched for the old ones.
    pub limit: usize,
}

/// A line on its way back.
struct Arrival<'a> {
    letter: &'a Letter,
    /// Of the dead letter that it was exported from.
    old_digest: &'a [u8],
    hand: &'a Hand,
    /// That dead letter, where it is still there.
    old: Option<&'a Taken>,
    how: How,
}

impl DeadLetters {
    /// A line whose payload was changed goes on as another event, caused by the old one. That one
    /// is taken out of the dead letters, where it still is.
    pub async fn import(&mut self, lines: Vec<Line>, how: How) -> Result<Vec<Done>> {
        let mut read = Vec::with_capacity(lines.len());
        for (number, line) in (1..).zip(lines) {
            read.push(line.letter().with_context(|| format!("line {number}"))?);
        }
        let queues: BTreeSet<_> = read.iter().map(|(letter, _)| letter.parked.clone()).collect();
        let parkings = self.broker.parkings().await?;
        let mut hands = BTreeMap::new();
        for queue in queues {
            ensure!(parkings.contains(&queue), "{queue} is no queue of dead letters here");
            let pick = Pick { queue: Some(queue.clone()), ..Pick::default() };
            let hand = self.take(&pick, how.limit).await?;
            hands.insert(queue, hand);
        }
        let mut all = Vec::with_capacity(read.len());
        for (letter, old_digest) in read {
            let hand = hands.get_mut(&letter.parked).expect("each queue is in hand");
            let old = hand.taken.iter().position(|taken| {
                let there = &taken.letter.message;
                there.id == letter.message.id && there.digest() == old_digest
            });
            // No two lines take the same one away.
            let old = old.map(|place| hand.taken.swap_remove(place));
            let old = old.as_ref();
            let line = Arrival { letter: &letter, old_digest: &old_digest, hand, old, how };
            let done = self.bring(&line).await;
            all.push(done.unwrap_or_else(|why| {
                Done::of(&letter, Outcome::Refused, kit::draw::reason(&why))
            }));
        }
        for hand in hands.into_values() {
            hand.give_back().await?;
        }
        Ok(all)
    }

    async fn bring(&mut self, line: &Arrival<'_>) -> Result<Done> {
        let Arrival { letter, how, .. } = line;
        if how.new_id || letter.message.digest() != line.old_digest {
            self.repair(line).await
        } else if how.replay {
            self.replay_line(line).await
        } else if line.old.is_some() {
            Ok(Done::of(letter, Outcome::NoEffect, "it is there already".into()))
        } else {
            self.put_back(letter).await
        }
    }

    async fn repair(&mut self, line: &Arrival<'_>) -> Result<Done> {
        let Arrival { letter, old_digest, old, how, .. } = *line;
        let refused = |why: &str| Ok(Done::of(letter, Outcome::Refused, why.into()));
        let Some(origin) = letter.origin() else {
            return refused("nothing tells which queue it came from: name it in the header queue");
        };
        if self.books.pasts(&[letter]).await?[0].handled.is_some() {
            return refused(
                "it was handled under its old id, and would be handled twice: purge it",
            );
        }
        let repair = Repair {
            new_id: RealWorld.new_id(),
            new_digest: letter.message.digest(),
            is_held: old.is_some(),
        };
        let new_id = self.books.repair(letter, old_digest, &repair).await?;
        let mut mended = letter.clone();
        mended.message = letter.mended(letter.message.body.clone(), new_id);
        let to = if how.replay { &origin } else { &letter.parked };
        let message = if how.replay { mended.reborn(now()) } else { mended.message };
        let publication = into(to, message);
        let detail = format!("in {to} as event {new_id}");
        self.bring_as(line, publication, (Outcome::Repaired, detail)).await
    }

    async fn replay_line(&mut self, line: &Arrival<'_>) -> Result<Done> {
        let letter = line.letter;
        let (past, fate) = self.judge(&[letter]).await?.remove(0);
        let (to, outcome) = match fate {
            Fate::Goes { to } => (to, Outcome::Replayed),
            Fate::NoEffect { to } => (to, Outcome::NoEffect),
            Fate::Refused { why } => return Ok(Done::of(letter, Outcome::Refused, why)),
        };
        if past.deed == Some(Deed::Purged) && !self.books.revive(letter).await? {
            return Ok(Done::of(letter, Outcome::Refused, REPAIRED_MEANWHILE.into()));
        }
        let publication = into(&to, letter.reborn(now()));
        self.bring_as(line, publication, (outcome, format!("in {to}"))).await
    }

    async fn put_back(&mut self, letter: &Letter) -> Result<Done> {
        if !self.books.revive(letter).await? {
            let why = "it was repaired, and went on as another event".into();
            return Ok(Done::of(letter, Outcome::Refused, why));
        }
        let publication = into(&letter.parked, letter.message.clone());
        let detail = format!("in {}", letter.parked);
        let sent = self.send(&[publication]).await.remove(0);
        Ok(match sent {
            Ok(()) => Done::of(letter, Outcome::PutBack, detail),
            Err(why) => Done::of(letter, Outcome::Failed, why),
        })
    }

    /// Publishes it, and then takes the old one away, where that is in hand.
    async fn bring_as(
        &mut self,
        line: &Arrival<'_>,
        publication: Publication,
        (outcome, detail): (Outcome, String),
    ) -> Result<Done> {
        Ok(match (self.send(&[publication]).await.remove(0), line.old) {
            (Err(why), _) => Done::of(line.letter, Outcome::Failed, why),
            (Ok(()), Some(old)) => finish(line.hand, old, outcome, detail).await,
            (Ok(()), None) => Done::of(line.letter, outcome, detail),
        })
    }
}
