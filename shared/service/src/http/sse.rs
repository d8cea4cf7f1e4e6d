//! Sends server-sent events: keep-alives on idle streams, and small events combined.

use super::{
    feed::{Heard, Listener, write_event},
    streams::OpenStream,
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, KeepAliveStream, Sse},
    },
};
use futures::{Stream, stream};
use serde::Serialize;
use serde_json::json;
use std::{convert::Infallible, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub type Events = Result<Event, Infallible>;

/// Sends keep-alives while nothing happens.
pub fn stream<S: Stream<Item = Events> + Send + 'static>(events: S) -> Sse<KeepAliveStream<S>> {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

pub fn event(kind: &str, data: &(impl Serialize + ?Sized)) -> Event {
    let data = serde_json::to_string(data).expect("what is told is plain data");
    Event::default().event(kind).data(data)
}

/// The events of a feed, until the service stops.
pub struct Feeding {
    /// Sent before all else.
    pub first: String,
    pub feed: Listener,
    pub stream: OpenStream,
    pub stop: CancellationToken,
}

impl Feeding {
    pub fn answer(self) -> Response {
        let begins = (self, Instant::now());
        let pieces = stream::unfold(begins, async |(mut feeding, mut rest_until)| {
            let piece = feeding.next(&mut rest_until).await?;
            Some((Ok::<_, Infallible>(piece), (feeding, rest_until)))
        });
        let headers =
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
        (headers, Body::from_stream(pieces)).into_response()
    }

    async fn next(&mut self, rest_until: &mut Instant) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first).into());
        }
        let heard = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            heard = async {
                sleep_until(*rest_until).await;
                self.feed.next().await
            } => heard,
            () = sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b":\n\n")),
        };
        *rest_until = Instant::now() + self.stream.rest();
        Some(match heard {
            Heard::Piece(piece) => piece,
            Heard::Missed(pieces) => missed(pieces).into(),
        })
    }
}

/// A client that receives this must query what it needs.
pub fn missed(batches: u64) -> String {
    let mut text = String::new();
    write_event(&mut text, "missed", &json!({ "batches": batches }), None::<&str>);
    text
}
