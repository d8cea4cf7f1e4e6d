//! Dead letters: looked at without disturbing, sent back into the queue that they died in, mended,
//! thrown away. Whatever is done to one is safe to be killed in the middle, to be done twice, and
//! to be done by two people at once.

mod books;
mod fate;
mod import;
mod letter;
mod line;
mod pick;

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use chrono::{DateTime, Utc};
use events::OrderId;
use messaging::{
    Broker as _, Confirm, CrashPoint, Message, Publication, Publisher, RabbitMq, RealWorld,
    Session, Topology, World, crash_at,
};
use serde::Serialize;

use crate::snapshot::{Broker, Databases, Held, KEYS_KEPT, Places};
use books::Books;

pub use fate::{Deed, Fate, Past, fate};
pub use import::How;
pub use letter::Letter;
pub use line::{Line, hex, value};
pub use pick::Pick;

/// So many are published before their confirms are awaited.
const BURST_MAX: usize = 100;
const REPAIRED_MEANWHILE: &str = "somebody has repaired it meanwhile";

pub struct DeadLetters {
    broker: Broker,
    books: Books,
    publisher: Box<dyn Publisher>,
    // The publisher's connection.
    _session: Box<dyn Session>,
}

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
}

impl Hand {
    /// What is picked of the first `limit` in each queue.
    pub async fn take(broker: &Broker, pick: &Pick, limit: usize) -> Result<Self> {
        let mut helds = Vec::new();
        for queue in broker.parkings().await? {
            if pick.looks_into(&queue) {
                helds.push(broker.hold(&queue, limit).await?);
            }
        }
        let hand = Self::new(helds, pick);
        crash_at(CrashPoint::LettersTaken);
        Ok(hand)
    }

    fn new(helds: Vec<Held>, pick: &Pick) -> Self {
        let mut taken = Vec::new();
        let mut unseen = BTreeMap::new();
        for (place, held) in helds.iter().enumerate() {
            for (tag, message) in &held.messages {
                let letter = Letter { parked: held.queue.clone(), message: message.clone() };
                if pick.fits(&letter) {
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

impl DeadLetters {
    pub async fn connect(places: &Places) -> Result<Self> {
        let broker = Broker::connect(places).await?;
        let books = Books::new(Databases::connect(&places.databases).await?);
        let rabbit = RabbitMq::new(&places.amqp_url, 1).map_err(anyhow::Error::msg)?;
        // It declares nothing: a queue that is missing is for its service to make.
        let nothing = Topology { service: "saga dlq".into(), ..Topology::default() };
        let session = rabbit.connect(&nothing).await?;
        let publisher = session.publisher().await?;
        Ok(Self { broker, books, publisher, _session: session })
    }

    pub async fn take(&self, pick: &Pick, limit: usize) -> Result<Hand> {
        Hand::take(&self.broker, pick, limit).await
    }

    pub async fn statuses(&mut self, letters: &[&Letter]) -> Result<HashMap<OrderId, String>> {
        self.books.statuses(letters).await
    }

    /// What a replay of each would do.
    pub async fn judge(&mut self, letters: &[&Letter]) -> Result<Vec<(Past, Fate)>> {
        let kept_since = now() - KEYS_KEPT;
        let pasts = self.books.pasts(letters).await?.into_iter().zip(letters);
        let judged = pasts.map(|(past, letter)| {
            let fate = fate(letter, &past, kept_since);
            (past, fate)
        });
        Ok(judged.collect())
    }

    /// Sends each back into its queue, and only when RabbitMQ has it there takes it out of the dead
    /// letters. A crash in between leaves two, of which one is handled.
    pub async fn replay(&mut self, hand: &Hand) -> Result<Vec<Done>> {
        let judged = self.judge(&hand.letters()).await?;
        let mut all = Vec::with_capacity(judged.len());
        let mut going = Vec::new();
        for (taken, (past, fate)) in hand.taken.iter().zip(judged) {
            let (to, outcome) = match fate {
                Fate::Goes { to } => (to, Outcome::Replayed),
                Fate::NoEffect { to } => (to, Outcome::NoEffect),
                Fate::Refused { why } => {
                    all.push(Done::of(&taken.letter, Outcome::Refused, why));
                    continue;
                }
            };
            if past.deed == Some(Deed::Purged) && !self.books.revive(&taken.letter).await? {
                all.push(Done::of(&taken.letter, Outcome::Refused, REPAIRED_MEANWHILE.into()));
                continue;
            }
            going.push((taken, to, outcome));
        }
        for burst in going.chunks(BURST_MAX) {
            let letters: Vec<_> =
                burst.iter().map(|(taken, to, _)| (&taken.letter, to.as_str())).collect();
            let sent = self.send_back(&letters).await;
            for ((taken, to, outcome), sent) in burst.iter().zip(sent) {
                all.push(match sent {
                    Ok(()) => finish(hand, taken, *outcome, format!("in {to}")).await,
                    Err(why) => Done::of(&taken.letter, Outcome::Failed, why),
                });
            }
        }
        Ok(all)
    }

    /// Publishes these as they were into these queues. `Ok` is RabbitMQ's word that it has one.
    pub async fn send_back(&mut self, letters: &[(&Letter, &str)]) -> Vec<Result<(), String>> {
        let burst: Vec<_> =
            letters.iter().map(|(letter, to)| into(to, letter.reborn(now()))).collect();
        self.send(&burst).await
    }

    async fn send(&mut self, burst: &[Publication]) -> Vec<Result<(), String>> {
        let confirms = match self.publisher.publish(burst).await {
            Ok(confirms) => confirms,
            Err(why) => return vec![Err(why.to_string()); burst.len()],
        };
        let told = burst.iter().zip(confirms).map(|(publication, confirm)| {
            let queue = &publication.routing_key;
            match confirm {
                Confirm::Stored => Ok(()),
                Confirm::Unroutable => {
                    Err(format!("there is no queue {queue}: import what `saga topology` prints"))
                }
                Confirm::Refused => Err(format!("{queue} is full or failing: try again later")),
            }
        });
        told.collect()
    }

    /// Notes in the hearers' databases that these are thrown away, and only then does it.
    pub async fn purge(&mut self, hand: &Hand) -> Result<Vec<Done>> {
        self.books.purge(&hand.letters()).await?;
        let mut all = Vec::with_capacity(hand.taken.len());
        for taken in &hand.taken {
            all.push(finish(hand, taken, Outcome::Purged, taken.letter.reason()).await);
        }
        Ok(all)
    }
}

async fn finish(hand: &Hand, taken: &Taken, outcome: Outcome, detail: String) -> Done {
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
    fn of(letter: &Letter, outcome: Outcome, detail: String) -> Self {
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

/// Straight into one queue. By the service's exchange every other listener would hear it again.
fn into(queue: &str, message: Message) -> Publication {
    Publication { exchange: String::new(), routing_key: queue.into(), message }
}

fn now() -> DateTime<Utc> {
    RealWorld.now()
}
