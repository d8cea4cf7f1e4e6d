//! Serves `GET /orders/{id}/events`: the timeline as it grows, and the final status.

use super::{
    access::Caller,
    app::{App, Id},
    problem,
};
use crate::{feed::Watch, order::Order, view::Step};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response, sse::Event},
};
use futures::stream;
use serde_json::json;
use service::http::{
    OpenStream, Problem,
    sse::{self, event},
};
use std::collections::{BTreeSet, VecDeque};
use tokio_util::sync::CancellationToken;

/// The id of the last event: a browser that reconnects with it has seen all.
pub const END: &str = "end";

pub async fn follow(
    State(app): State<App>,
    caller: Caller,
    Id(id): Id,
    place: OpenStream,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Before the first read, so that no event falls between the two.
    let watch = app.feeds.watchers.watch(id);
    let order = app.backend.order(id, caller.scope()).await?;
    let order = order.ok_or_else(|| problem::no_such_order(id))?;
    if order.status().is_final() && headers.get("last-event-id").is_some_and(|id| id == END) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut follower = Follower::new(app.context.stop, watch, place);
    follower.show(&order);
    let events = stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(sse::stream(events).into_response())
}

struct Follower {
    stop: CancellationToken,
    watch: Watch,
    shown: BTreeSet<&'static str>,
    waiting: VecDeque<Event>,
    ended: bool,
    _place: OpenStream,
}

impl Follower {
    fn new(stop: CancellationToken, watch: Watch, place: OpenStream) -> Self {
        let (shown, waiting, ended) = (BTreeSet::new(), VecDeque::new(), false);
        Self { stop, watch, shown, waiting, ended, _place: place }
    }

    /// `None` once the order is final, or the service stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let order = tokio::select! {
                () = self.stop.cancelled() => return None,
                order = self.watch.news() => order,
            };
            if let Some(order) = order {
                self.show(&order);
            }
        }
    }

    /// What has not been shown yet.
    fn show(&mut self, order: &Order) {
        for fact in order.timeline() {
            if self.shown.insert(fact.event) {
                let id = fact.event_id.to_string();
                self.waiting.push_back(event("step", &Step::from(fact)).id(id));
            }
        }
        let status = order.status();
        if status.is_final() {
            self.ended = true;
            self.waiting.push_back(event("end", &json!({ "status": status })).id(END));
        }
    }
}
