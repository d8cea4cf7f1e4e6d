//! Replays published events into one queue, at a limited rate: for a service that has joined later.

mod bounds;
mod route;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use audit::{Databases, Endpoints};
use dead_letters::{Post, into, now};
use events::{EventId, said_by};
use messaging::history::{self, Range};
use messaging::{Outgoing, Publication, header};
use serde::Serialize;

pub use bounds::{From, Moment, Wanted};

/// So many bursts a second; each is published before its confirms are awaited.
const BURSTS_A_SECOND: u32 = 10;
const BURST_MAX: u32 = 100;

pub struct Replay {
    databases: Databases,
    post: Post,
    range: Range,
    pub report: Report,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub queue: String,
    pub event: String,
    /// The number of events in the range, and of those that RabbitMQ has confirmed.
    pub events: usize,
    pub replayed: usize,
    /// The last confirmed one: a replay can go on after it.
    pub last: Option<EventId>,
}

impl Replay {
    /// Finds what the queue is for, and what is kept of it.
    pub async fn prepare(endpoints: &Endpoints, queue: &str, wanted: &Wanted) -> Result<Self> {
        let event = route::event_of(queue, &route::bindings(endpoints).await?)?;
        let service = said_by(&event);
        let url = endpoints.databases.get(service).with_context(|| {
            format!("{event} is published by {service}: add its database to the file of --places")
        })?;
        let urls = BTreeMap::from([(service.to_owned(), url.clone())]);
        let mut databases = Databases::connect(&urls).await?;
        // Only now, since the queue is bound: what is published from here on comes by itself.
        let database = databases.of(service)?;
        let kept = history::kept(database).await.with_context(|| {
            format!("{service} keeps no history: start this version's {service} service")
        })?;
        let range = wanted.range(&event, &kept, endpoints.retention())?;
        let events = usize::try_from(history::count(database, &range).await?)?;
        let post = Post::connect(&endpoints.amqp_url, "saga replay").await?;
        let report = Report { queue: queue.into(), event, events, replayed: 0, last: None };
        Ok(Self { databases, post, range, report })
    }

    /// Publishes the range in the order of its ids; `told` hears of each confirmed burst. May be
    /// dropped while it waits.
    pub async fn run(&mut self, rate: u32, mut told: impl FnMut(&Report)) -> Result<()> {
        let (began, max) = (Instant::now(), (rate / BURSTS_A_SECOND).clamp(1, BURST_MAX));
        loop {
            let database = self.databases.of(said_by(&self.report.event))?;
            let page = history::page(database, &self.range, max).await?;
            let Some(last) = page.last().map(|event| event.id) else { return Ok(()) };
            self.publish(&page).await?;
            self.range.after = last;
            self.report.last = Some(last);
            self.report.replayed += page.len();
            told(&self.report);
            let due = Duration::from_secs_f64(self.report.replayed as f64 / f64::from(rate));
            tokio::time::sleep_until((began + due).into()).await;
        }
    }

    /// By its header a consumer refuses an event that was repaired meanwhile.
    async fn publish(&mut self, page: &[Outgoing]) -> Result<()> {
        let at = now().to_rfc3339();
        let to_queue = |event: &Outgoing| {
            let Publication { message, .. } = event.publication();
            let message = message.with(header::REPLAYED, 1).with(header::REPLAYED_AT, at.as_str());
            into(&self.report.queue, message)
        };
        let burst: Vec<_> = page.iter().map(to_queue).collect();
        let sent = self.post.send(&burst).await;
        sent.into_iter().collect::<Result<_, _>>().map_err(|why| anyhow!(why))
    }
}
