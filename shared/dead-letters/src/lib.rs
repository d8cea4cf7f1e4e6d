//! Dead letters: looked at without disturbing, and sent back into the queue that they died in.
//! Whatever is done to one is safe to be killed in the middle, to be done twice, and to be done by
//! two people at once.

mod books;
mod fate;
mod hand;
mod held;
mod letter;
mod post;

use anyhow::Result;
use chrono::{DateTime, Utc};
use messaging::{Kept, RealWorld, World};

pub use books::{Books, Key, pasts_in, revive_in, storable};
pub use fate::{Deed, Fate, Past, fate};
pub use hand::{Done, Hand, Outcome, Taken, finish};
pub use held::{Held, connect, in_time};
pub use lapin::Connection;
#[cfg(any(test, feature = "testing"))]
pub use letter::testing;
pub use letter::{Letter, order_of};
pub use post::{Post, into};

/// So many are published before their confirms are awaited.
const BURST_MAX: usize = 100;
pub const REPAIRED_MEANWHILE: &str = "somebody has repaired it meanwhile";

/// What a replay of each would do, where the hearers keep their idempotency keys for so long.
pub async fn judge(
    books: &mut impl Books,
    kept: Kept,
    letters: &[&Letter],
) -> Result<Vec<(Past, Fate)>> {
    let now = now();
    let pasts = books.pasts(letters).await?.into_iter().zip(letters);
    let judged = pasts.map(|(past, letter)| {
        let fate = fate(letter, &past, kept, now);
        (past, fate)
    });
    Ok(judged.collect())
}

/// Sends each back into its queue, and only when RabbitMQ has it there takes it out of the dead
/// letters. A crash in between leaves two, of which one is handled.
pub async fn replay(
    books: &mut impl Books,
    kept: Kept,
    post: &mut Post,
    hand: &Hand,
) -> Result<Vec<Done>> {
    let judged = judge(books, kept, &hand.letters()).await?;
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
        if past.deed == Some(Deed::Purged) && !books.revive(&taken.letter).await? {
            all.push(Done::of(&taken.letter, Outcome::Refused, REPAIRED_MEANWHILE.into()));
            continue;
        }
        going.push((taken, to, outcome));
    }
    for burst in going.chunks(BURST_MAX) {
        let letters: Vec<_> =
            burst.iter().map(|(taken, to, _)| (&taken.letter, to.as_str())).collect();
        let sent = post.send_back(&letters).await;
        for ((taken, to, outcome), sent) in burst.iter().zip(sent) {
            all.push(match sent {
                Ok(()) => finish(hand, taken, *outcome, format!("in {to}")).await,
                Err(why) => Done::of(&taken.letter, Outcome::Failed, why),
            });
        }
    }
    Ok(all)
}

pub fn now() -> DateTime<Utc> {
    RealWorld.now()
}
