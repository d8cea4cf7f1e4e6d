//! Reads the parts of the system that answer, and remembers the others: a question about an order
//! is asked when a part of the system is down.

use std::time::Duration;

use anyhow::{Context, Result};
use audit::{Broker, Databases, Endpoints, answer};
use database::PlainConnection;
use events::SERVICES;
use kit::output;
use serde::Serialize;

/// A frozen part answers never, and the others at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub struct Reach {
    pub databases: Databases,
    broker: Result<Broker>,
}

/// A part that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unread {
    /// `rabbitmq`, or for example `payment's database`.
    pub part: String,
    pub why: String,
    /// What only this part could tell.
    pub open: String,
}

impl Reach {
    pub async fn connect(endpoints: &Endpoints) -> Self {
        let broker = answer("RabbitMQ", ANSWER_WITHIN, Broker::connect(endpoints));
        let databases = Databases::reach(&endpoints.databases, ANSWER_WITHIN);
        let (broker, databases) = tokio::join!(broker, databases);
        Self { databases, broker }
    }

    /// Reads in this service's database; none where it does not answer, now or before.
    pub async fn of<T>(
        &mut self,
        service: &str,
        read: impl AsyncFnOnce(&mut PlainConnection) -> sqlx::Result<T>,
    ) -> Option<T> {
        let database = self.databases.of(service).ok()?;
        let part = format!("the database of {service}");
        let failed = || format!("{part} cannot be read");
        let reading = async { read(database).await.with_context(failed) };
        let read = answer(&part, ANSWER_WITHIN, reading).await;
        read.map_err(|why| self.databases.lose(service, why)).ok()
    }

    /// Reads in the broker; none where it does not answer, now or before.
    pub async fn broker<T>(&mut self, read: impl AsyncFnOnce(&Broker) -> Result<T>) -> Option<T> {
        let read = read(self.broker.as_ref().ok()?).await;
        read.map_err(|why| self.broker = Err(why)).ok()
    }

    pub fn unread(&self) -> Vec<Unread> {
        let broker = self.broker.as_ref().err().map(|why| Unread {
            part: "rabbitmq".into(),
            why: output::reason(why),
            open: "what waits in queues and retry tiers, dead letters, who consumes".into(),
        });
        let databases = self.databases.missing().iter().map(|(service, why)| Unread {
            part: format!("{service}'s database"),
            why: output::reason(why),
            open: match SERVICES.contains(&service.as_str()) {
                true => format!("what {service} has handled, its outbox, what was purged"),
                false => format!("what {service} has done about it"),
            },
        });
        broker.into_iter().chain(databases).collect()
    }
}
