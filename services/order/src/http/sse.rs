//! Server-sent events, as every stream of this service sends them.

use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use futures::Stream;
use serde::Serialize;
use std::{convert::Infallible, time::Duration};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub type Events = Result<Event, Infallible>;

/// Says something now and then where nothing happens.
pub fn stream<S: Stream<Item = Events> + Send + 'static>(events: S) -> Sse<KeepAliveStream<S>> {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

pub fn event(kind: &str, data: &(impl Serialize + ?Sized)) -> Event {
    let data = serde_json::to_string(data).expect("what is told is plain data");
    Event::default().event(kind).data(data)
}
