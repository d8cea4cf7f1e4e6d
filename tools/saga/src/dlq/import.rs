//! Imports exported lines, unchanged or repaired.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use dead_letters::{Books, Done, Lease, Letter, Outcome, Taken, begin, finish, into, now};
use messaging::{Env, Publication, SystemEnv};

use super::books::Repair;
use super::{DeadLetters, Line, Pick};

/// The options of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Into the original queue; else into the dead-letter queue.
    pub replay: bool,
    /// As another event, even if unchanged.
    pub new_id: bool,
    /// The number of messages to search in each dead-letter queue for the old ones.
    pub limit: usize,
}

/// A line to import.
struct Arrival<'a> {
    letter: &'a Letter,
    /// The id of the dead letter that it was exported from.
    old_digest: &'a [u8],
    lease: &'a Lease,
    /// That dead letter, if it still exists.
    old: Option<&'a Taken>,
    how: How,
}

impl DeadLetters {
    /// A line with a changed payload becomes another event, caused by the old one. The old one is
    /// removed from the dead letters, if it still exists.
    pub async fn import(&mut self, lines: Vec<Line>, how: How) -> Result<Vec<Done>> {
        let mut read = Vec::with_capacity(lines.len());
        for (number, line) in (1..).zip(lines) {
            read.push(line.letter().with_context(|| format!("line {number}"))?);
        }
        let queues: BTreeSet<_> = read.iter().map(|(letter, _)| letter.parked.clone()).collect();
        let parkings = self.broker.parkings().await?;
        let mut hands = BTreeMap::new();
        for queue in queues {
            ensure!(parkings.contains(&queue), "{queue} is not a dead-letter queue of this system");
            let pick = Pick { queue: Some(queue.clone()), ..Pick::default() };
            let lease = self.take(&pick, how.limit).await?;
            hands.insert(queue, lease);
        }
        let letters: Vec<_> = read.iter().map(|(letter, _)| letter).collect();
        let acts = self.begin("dlq.import", &letters).await?;
        let mut all = Vec::with_capacity(read.len());
        for (letter, old_digest) in read {
            let lease = hands.get_mut(&letter.parked).expect("each queue is in lease");
            let old = lease.taken.iter().position(|taken| {
                let there = &taken.letter.message;
                there.id == letter.message.id && there.digest() == old_digest
            });
            // Two lines never remove the same one.
            let old = old.map(|place| lease.taken.swap_remove(place));
            let old = old.as_ref();
            let line = Arrival { letter: &letter, old_digest: &old_digest, lease, old, how };
            let done = self.bring(&line).await;
            all.push(done.unwrap_or_else(|why| {
                Done::of(&letter, Outcome::Refused, kit::output::reason(&why))
            }));
        }
        self.end(&acts, &all).await;
        for lease in hands.into_values() {
            lease.give_back().await?;
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
            return refused("its original queue is unknown: set the header queue");
        };
        if self.books.pasts(&[letter]).await?[0].handled.is_some() {
            return refused("it was already handled under its old id: purge it");
        }
        let repair = Repair {
            new_id: SystemEnv.new_id(),
            new_digest: letter.message.digest(),
            is_held: old.is_some(),
        };
        let new_id = self.books.repair(letter, old_digest, &repair).await?;
        let mut mended = letter.clone();
        mended.message = letter.mended(letter.message.body.clone(), new_id);
        let to = if how.replay { &origin } else { &letter.parked };
        let message = if how.replay { mended.for_replay(now()) } else { mended.message };
        let publication = into(to, message);
        let detail = format!("in {to} as event {new_id}");
        self.bring_as(line, publication, (Outcome::Repaired, detail)).await
    }

    async fn replay_line(&mut self, line: &Arrival<'_>) -> Result<Done> {
        let letter = line.letter;
        let judged = self.judge(&[letter]).await?.remove(0);
        let (to, outcome) = match begin(&mut self.books, letter, judged).await? {
            Ok(begun) => begun,
            Err(why) => return Ok(Done::of(letter, Outcome::Refused, why)),
        };
        let publication = into(&to, letter.for_replay(now()));
        self.bring_as(line, publication, (outcome, format!("in {to}"))).await
    }

    async fn put_back(&mut self, letter: &Letter) -> Result<Done> {
        if !self.books.revive(letter).await? {
            let why = "it was repaired and republished as another event".into();
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

    /// Publishes the line, and then removes the old message, if it is leased.
    async fn bring_as(
        &mut self,
        line: &Arrival<'_>,
        publication: Publication,
        (outcome, detail): (Outcome, String),
    ) -> Result<Done> {
        Ok(match (self.send(&[publication]).await.remove(0), line.old) {
            (Err(why), _) => Done::of(line.letter, Outcome::Failed, why),
            (Ok(()), Some(old)) => finish(line.lease, old, outcome, detail).await,
            (Ok(()), None) => Done::of(line.letter, outcome, detail),
        })
    }
}
