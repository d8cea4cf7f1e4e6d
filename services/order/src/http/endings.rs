//! `GET /orders/endings`: which orders end, as they do, in this process. For who has many under way
//! and would else ask for each.

use super::{
    App,
    problem::Problem,
    sse::{self, Events, event},
};
use crate::telling::Ending;
use axum::{
    extract::State,
    response::sse::{Event, Sse},
};
use futures::{Stream, stream};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

pub async fn listen(State(app): State<App>) -> Result<Sse<impl Stream<Item = Events>>, Problem> {
    let permit = app.limits.stream()?;
    let (endings, stop) = (app.orders.endings.listen(), app.context.stop.clone());
    let told = stream::unfold((endings, stop, permit), async |(mut endings, stop, permit)| {
        let event = tokio::select! {
            () = stop.cancelled() => return None,
            event = next(&mut endings) => event?,
        };
        Some((Ok(event), (endings, stop, permit)))
    });
    Ok(sse::stream(told))
}

async fn next(endings: &mut Receiver<Arc<[Ending]>>) -> Option<Event> {
    match endings.recv().await {
        Ok(ended) => Some(event("ended", &*ended)),
        // Too slow a reader: whom it waits for it has to ask.
        Err(RecvError::Lagged(batches)) => Some(event("missed", &json!({ "batches": batches }))),
        Err(RecvError::Closed) => None,
    }
}
