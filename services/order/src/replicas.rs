//! Polls the writes of other processes of this service, once a second for all streams, while one is
//! open. This process publishes its own writes to streams itself.

use crate::{
    feed::{Feeds, News},
    store,
};
use chrono::TimeDelta;
use database::Failure;
use service::Context;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The usual maximum of time between an event's publication and its commit at the consumer.
pub const BACK: TimeDelta = TimeDelta::seconds(30);
/// So many of the newest orders are checked for recent changes.
const NEWEST: u32 = 500;
/// Orders that are watched, in one statement.
const WATCHED_MAX: usize = 500;

pub async fn run(context: Context, feeds: Feeds) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // Without the database there is nothing new to send.
        if let Err(why) = look(&context, &feeds).await {
            tracing::debug!("streams cannot read other processes' events: {why}");
        }
    }
}

async fn look(context: &Context, feeds: &Feeds) -> Result<(), Failure> {
    let pool = &context.message_store.pool;
    for watched in feeds.watchers.watched().chunks(WATCHED_MAX) {
        let further = store::further(pool, watched).await?;
        feeds.watchers.show(further.iter().map(|(id, order)| (id, order)));
    }
    if let Some(since) = feeds.news.looked_for_since() {
        let earliest = context.env.now() - BACK;
        let lately = store::lately(pool, since, NEWEST, None).await?.orders;
        feeds.news.tell(News::since(since, &lately).into_iter());
        feeds.news.looked(earliest);
    }
    Ok(())
}
