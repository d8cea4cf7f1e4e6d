//! Follows the events of services beside the saga, in their databases: order does not consume them.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use audit::{Databases, Endpoints};
use chrono::{DateTime, TimeDelta, Utc};
use events::{EventId, OrderId, SERVICES, lowest_id, said_at};
use kit::api::Said;
use kit::output;
use messaging::{Env, SystemEnv};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// An event is committed at most so much later than its id tells; clocks that differ included.
const LATE_MAX: TimeDelta = TimeDelta::seconds(10);
const WAITING_MAX: usize = 1000;

/// Their new events from now on. The channel is closed where there are no such services.
pub async fn follow(endpoints: &Endpoints) -> mpsc::Receiver<Said> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let mut urls = endpoints.databases.clone();
    urls.retain(|service, _| !SERVICES.contains(&service.as_str()));
    // The saga's events are worth showing without theirs.
    match Databases::connect(&urls).await {
        Ok(databases) => {
            for (service, why) in databases.unread(&[]) {
                let why = why.unwrap_or_default();
                eprintln!("saga: no event of {service} is shown: {why}");
            }
            let mut events = Events { databases, known: HashMap::new() };
            let old = events.read().await;
            tokio::spawn(async move {
                if let Err(why) = send(old, events, &sender).await {
                    let why = output::reason(&why);
                    eprintln!("saga: no more events beside the saga are shown: {why}");
                }
            });
        }
        Err(why) => eprintln!("saga: no event beside the saga is shown: {}", output::reason(&why)),
    }
    receiver
}

async fn send(
    old: Result<Vec<Said>>,
    mut events: Events,
    sender: &mpsc::Sender<Said>,
) -> Result<()> {
    old?;
    while !events.databases.beside().is_empty() && !sender.is_closed() {
        for said in events.read().await? {
            sender.send(said).await.ok();
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

struct Events {
    databases: Databases,
    /// The latest, with their times.
    known: HashMap<EventId, DateTime<Utc>>,
}

impl Events {
    async fn read(&mut self) -> Result<Vec<Said>> {
        let since = SystemEnv.now() - LATE_MAX;
        let mut found = Vec::new();
        for service in self.databases.beside() {
            found.extend(read(&mut self.databases, &service, since).await?);
        }
        found.retain(|said| self.known.insert(said.event_id, said.at).is_none());
        self.known.retain(|_, at| *at >= since);
        Ok(found)
    }
}

async fn read(databases: &mut Databases, service: &str, since: DateTime<Utc>) -> Result<Vec<Said>> {
    type Row = (EventId, String, OrderId, String, Option<EventId>, Option<String>);
    let rows = sqlx::query_as(
        "SELECT event_id, event_type, order_id, body, caused_by,
             (SELECT cause.event_type FROM idempotency_keys AS cause
              WHERE cause.event_id = published.caused_by)
         FROM (SELECT event_id, event_type, order_id, body, caused_by FROM said
               UNION
               SELECT event_id, event_type, order_id, body, caused_by FROM outbox) AS published
         WHERE event_id >= $1
         ORDER BY event_id",
    );
    let rows: Vec<Row> = rows.bind(lowest_id(since)).fetch_all(databases.of(service)?).await?;
    let said = rows.into_iter().map(|(event_id, event, order_id, body, caused_by, after)| {
        let mut detail: Value = serde_json::from_str(&body).unwrap_or_default();
        if let Some(fields) = detail.as_object_mut() {
            fields.remove("order_id");
        }
        let at = said_at(event_id).unwrap_or_default();
        let service = service.to_owned();
        Said { order_id, event, event_id, service, at, caused_by, after, inferred: false, detail }
    });
    Ok(said.collect())
}
