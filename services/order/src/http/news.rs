//! Serves `GET /orders/events`, for `saga tail`: the events of all orders as order records them. A
//! client that reconnects with `Last-Event-ID` gets the events that it missed, some perhaps twice;
//! or a notice that they are too many.

use super::{access::Caller, app::App};
use crate::{feed::News, replicas::BACK};
use axum::{extract::State, http::HeaderMap, response::Response};
use chrono::{DateTime, Utc};
use events::{EventId, said_at};
use service::http::{
    OpenStream, Problem,
    sse::{Feeding, missed},
};
use std::sync::Arc;

/// So many of the newest orders are looked at for what was missed.
pub const CAUGHT_UP_MAX: u32 = 2000;

pub async fn listen(
    State(app): State<App>,
    caller: Caller,
    stream: OpenStream,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Before the read, so that no event falls between the two.
    let scope = caller.scope();
    let feed = app.feeds.news.listen(app.context.env.now(), scope.cloned());
    let first = match last_event(&headers) {
        Some(last) => caught_up(&app, last, scope).await?,
        None => String::new(),
    };
    Ok(Feeding { first, feed, stream, stop: app.context.stop }.answer())
}

/// The time of the last event that the client received.
fn last_event(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let id: EventId = headers.get("last-event-id")?.to_str().ok()?.parse().ok()?;
    said_at(id)
}

async fn caught_up(
    app: &App,
    last: DateTime<Utc>,
    scope: Option<&Arc<str>>,
) -> Result<String, Problem> {
    let since = last - BACK;
    let lately = app.backend.lately(since, CAUGHT_UP_MAX, scope).await?;
    let mut text = String::new();
    if lately.back_to.is_some_and(|oldest| oldest > since) {
        text += &missed(1);
    }
    News::since(since, &lately.orders).iter().for_each(|(_, news)| news.write(&mut text));
    Ok(text)
}
