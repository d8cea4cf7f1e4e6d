//! Serves `GET /orders/endings`: the orders that end in this process, as they end. For a client
//! with many orders under way, instead of polling each.

use super::{access::Caller, app::App};
use axum::{extract::State, response::Response};
use service::http::{OpenStream, sse::Feeding};

pub async fn listen(State(app): State<App>, caller: Caller, stream: OpenStream) -> Response {
    let feed = app.feeds.endings.listen(caller.scope().cloned());
    let stop = app.context.stop;
    Feeding { first: String::new(), feed, stream, stop }.answer()
}
