//! Serves `GET /page/frames`: the page's changes as a stream. A page that reconnects resumes at its
//! last frame.

use crate::{Page, acting::Viewer, feed::Subscriber};
use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use service::http::{
    OpenStream, Problem,
    sse::{self, Events},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a browser waits before it comes back.
const COME_BACK: Duration = Duration::from_millis(700);

#[derive(Deserialize)]
pub struct Asked {
    after: Option<String>,
}

struct Follower {
    subscriber: Subscriber,
    hello: Option<Event>,
    stop: CancellationToken,
    _place: OpenStream,
}

pub async fn follow(
    State(page): State<Page>,
    Viewer(caller): Viewer,
    place: OpenStream,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Events>>, Problem> {
    // A browser that reconnects sends the id of its last event, which is newer than the one in the
    // address.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let subscriber = page.feed.subscribe(last.or(asked.after.as_deref()));
    let token = page.acting.as_ref().map(|acting| acting.token(&caller));
    // A browser ignores an event without data.
    let hello = sse::event("hello", &json!({ "token": token })).retry(COME_BACK);
    let stop = page.app.context.stop;
    let follower = Follower { subscriber, hello: Some(hello), stop, _place: place };
    let frames = stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(sse::stream(frames))
}

impl Follower {
    /// `None` when the service stops.
    async fn next(&mut self) -> Option<Event> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            sent = self.subscriber.next() => Some(Event::default().id(sent.id).data(sent.data)),
        }
    }
}
