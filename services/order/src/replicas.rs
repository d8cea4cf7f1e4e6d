//! Polls what other processes of this service write, once a second and for all streams, while one
//! is open. What this process writes is told as it is written.

use crate::{
    feed::{Feeds, News},
    store,
};
use chrono::TimeDelta;
use database::Failure;
use service::Context;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From when an event is said until whoever hears it has written that down, usually.
pub const BACK: TimeDelta = TimeDelta::seconds(30);
/// So many of the newest orders are looked at for what has happened lately.
const NEWEST: u32 = 500;
/// Orders that are watched, in one statement.
const WATCHED_MAX: usize = 500;

pub async fn run(context: Context, feeds: Feeds) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // While the database is away there is nothing new to tell.
        if let Err(why) = look(&context, &feeds).await {
            tracing::debug!("streams do not see what other processes write: {why}");
        }
    }
}

async fn look(context: &Context, feeds: &Feeds) -> Result<(), Failure> {
    let pool = &context.ledger.pool;
    for watched in feeds.watchers.watched().chunks(WATCHED_MAX) {
        let further = store::further(pool, watched).await?;
        feeds.watchers.show(further.iter().map(|(id, order)| (id, order)));
    }
    if let Some(since) = feeds.news.looked_for_since() {
        let earliest = context.world.now() - BACK;
        let lately = store::lately(pool, since, NEWEST).await?.orders;
        feeds.news.tell(News::since(since, &lately).into_iter());
        feeds.news.looked(earliest);
    }
    Ok(())
}
