//! `GET /orders/events`: the events of all orders, as order hears them; for `saga tail`. What
//! another process of this service hears is looked for every second. Who comes back with
//! `Last-Event-ID` is told what he has missed, and perhaps some of it twice.

use super::{
    App,
    problem::Problem,
    sse::{self, Events, event},
};
use crate::{store, telling::News};
use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, Sse},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use events::{EventId, said_at};
use futures::{Stream, stream};
use serde_json::json;
use service::Context;
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{Receiver, error::RecvError},
    },
    time::{Instant, sleep_until},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From when an event is said until whoever hears it has written that down, usually.
const BACK: TimeDelta = TimeDelta::seconds(30);

pub async fn listen(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Events>>, Problem> {
    let permit = app.limits.stream()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let last_at = last.and_then(said_at).map(|at| at - BACK);
    let listener = Listener {
        news: app.orders.news.listen(),
        // What is said in this same millisecond, which is all that an id tells, comes after.
        since: last_at.unwrap_or_else(|| app.context.world.now().trunc_subsecs(3)),
        look_at: if last_at.is_some() { Instant::now() } else { Instant::now() + LOOK_EVERY },
        context: app.context,
        told: HashSet::new(),
        waiting: VecDeque::new(),
        _permit: permit,
    };
    Ok(sse::stream(stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })))
}

struct Listener {
    context: Context,
    news: Receiver<Arc<[News]>>,
    /// What was said before that is not looked for.
    since: DateTime<Utc>,
    look_at: Instant,
    /// What was said since then.
    told: HashSet<EventId>,
    waiting: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// `None` when the service stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.context.stop.cancelled() => return None,
                news = self.news.recv() => match news {
                    Ok(news) => self.tell(news.iter()),
                    // Too slow a reader.
                    Err(RecvError::Lagged(batches)) => {
                        self.waiting.push_back(event("missed", &json!({ "batches": batches })));
                    }
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(self.look_at) => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let earliest = self.context.world.now() - BACK;
        // While the database is away there is nothing new to tell.
        if let Ok(orders) = store::lately(&self.context.ledger.pool, self.since).await {
            let all = orders.iter().flat_map(|(id, order)| News::all(*id, order));
            let mut lately: Vec<_> = all.filter(|news| news.fact.at >= self.since).collect();
            lately.sort_by_key(|news| news.fact.at);
            self.tell(lately.iter());
            self.since = self.since.max(earliest);
            self.told.retain(|id| said_at(*id).is_none_or(|at| at >= self.since));
        }
        self.look_at = Instant::now() + LOOK_EVERY;
    }

    /// Each once.
    fn tell<'a>(&mut self, all: impl Iterator<Item = &'a News>) {
        for news in all {
            let id = news.fact.event_id;
            if self.told.insert(id) {
                self.waiting.push_back(event("said", news).id(id.to_string()));
            }
        }
    }
}
