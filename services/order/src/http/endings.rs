//! Serves `GET /orders/endings`: which orders end, as they do, in this process. For a client that
//! has many under way and would else ask for each.

use super::app::App;
use axum::{extract::State, response::Response};
use service::http::{OpenStream, sse::Feeding};

pub async fn listen(State(app): State<App>, stream: OpenStream) -> Response {
    let (feed, stop) = (app.orders.feeds.endings.listen(), app.context.stop);
    Feeding { first: String::new(), feed, stream, stop }.answer()
}
