#![doc = include_str!("../README.md")]

mod books;
mod fetched;
mod lease;
mod letter;
mod plan;
mod post;

use anyhow::Result;
use chrono::{DateTime, Utc};
use messaging::{Env, Retention, SystemEnv};

pub use books::{Books, Key, pasts_in, revive_in, storable};
pub use fetched::{FetchedMessages, connect, in_time};
pub use lapin::Connection;
pub use lease::{Done, Lease, Outcome, Taken, finish};
#[cfg(any(test, feature = "testing"))]
pub use letter::testing;
pub use letter::{Letter, order_of};
pub use plan::{Past, PriorAction, ReplayPlan, plan};
pub use post::{Post, into};

/// So many are published before their confirms are awaited.
const BURST_MAX: usize = 100;

/// Plans a replay of each, by the retention of the consumers' inboxes.
pub async fn judge(
    books: &mut impl Books,
    retention: Retention,
    letters: &[&Letter],
) -> Result<Vec<(Past, ReplayPlan)>> {
    let now = now();
    let pasts = books.pasts(letters).await?.into_iter().zip(letters);
    let judged = pasts.map(|(past, letter)| {
        let plan = plan(letter, &past, retention, now);
        (past, plan)
    });
    Ok(judged.collect())
}

/// Publishes each to its queue, and acknowledges the dead letter only after RabbitMQ's confirm. A
/// crash in between leaves two copies, of which one is handled. One outcome for each, in their
/// order: copies have the same id.
pub async fn replay(
    books: &mut impl Books,
    retention: Retention,
    post: &mut Post,
    lease: &Lease,
) -> Result<Vec<Done>> {
    let judged = judge(books, retention, &lease.letters()).await?;
    let mut all = Vec::with_capacity(judged.len());
    let mut going = Vec::new();
    for (place, (taken, judged)) in lease.taken.iter().zip(judged).enumerate() {
        match begin(books, &taken.letter, judged).await? {
            Ok((to, outcome)) => going.push((place, taken, to, outcome)),
            Err(why) => all.push((place, Done::of(&taken.letter, Outcome::Refused, why))),
        }
    }
    for burst in going.chunks(BURST_MAX) {
        let letters: Vec<_> =
            burst.iter().map(|(_, taken, to, _)| (&taken.letter, to.as_str())).collect();
        let sent = post.send_back(&letters).await;
        for ((place, taken, to, outcome), sent) in burst.iter().zip(sent) {
            let done = match sent {
                Ok(()) => finish(lease, taken, *outcome, format!("in {to}")).await,
                Err(why) => Done::of(&taken.letter, Outcome::Failed, why),
            };
            all.push((*place, done));
        }
    }
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}

/// Its queue, and the outcome once it is there; or why it is refused. It is no longer purged.
pub async fn begin(
    books: &mut impl Books,
    letter: &Letter,
    (past, plan): (Past, ReplayPlan),
) -> Result<Result<(String, Outcome), String>> {
    let begun = match plan {
        ReplayPlan::Goes { to } => (to, Outcome::Replayed),
        ReplayPlan::NoEffect { to } => (to, Outcome::NoEffect),
        ReplayPlan::Refused { why } => return Ok(Err(why)),
    };
    if past.prior_action == Some(PriorAction::Purged) && !books.revive(letter).await? {
        return Ok(Err("it was repaired by another import meanwhile".into()));
    }
    Ok(Ok(begun))
}

pub fn now() -> DateTime<Utc> {
    SystemEnv.now()
}
