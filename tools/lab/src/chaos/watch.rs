//! Measures how long the system takes to recover, by polling it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audit::{Broker, Endpoints};
use chrono::{DateTime, Utc};
use events::steps_of;
use futures::future::select_ok;
use kit::child_process::ChildProcess;
use kit::output::some;
use kit::settings::SERVICES;
use lapin::{Connection, ConnectionProperties};
use messaging::{Env, SystemEnv, queue_name};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::fault::REPLICAS;
use super::fleet::Fleet;
use super::live::Live;
use super::tap::Tap;

/// A recovery that takes longer is a failure.
const BOUND: Duration = Duration::from_secs(60);
const LOGIN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The kinds of recovery, and the limit of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// From the start of a service until each of its queues has all its consumers again.
    Consuming,
    /// From the moment at which the broker can be reached until an event comes through it.
    BrokerFlows,
    /// From the moment at which a database can be reached until its service has handled or
    /// published an event.
    DatabaseFlows,
    /// From the end of any other fault until an event flows.
    Flows,
    /// From the start of the broker's silence until every service has noticed.
    Noticed,
    /// From the start of a link's permanent silence until an event flows.
    SilentFlows,
    /// Until every earlier order is final.
    Settled,
    /// From the promotion of a standby until its service has handled or published an event.
    Promoted,
    /// Between two confirmed orders, from a fault of RabbitMQ's nodes to its end.
    NodeGap,
    /// The same for a failover.
    FailoverGap,
    /// From the last hostile message until all of them are dead letters.
    Parked,
}

impl Measure {
    pub const fn goal(self) -> Option<Duration> {
        match self {
            Self::Consuming => Some(Duration::from_secs(2)),
            Self::BrokerFlows => Some(Duration::from_secs(5)),
            Self::DatabaseFlows => Some(Duration::from_secs(3)),
            Self::Noticed => Some(Duration::from_secs(20)),
            Self::SilentFlows => Some(Duration::from_secs(30)),
            // Some of these wait for a card that is never available.
            Self::Settled => Some(Duration::from_secs(60)),
            Self::Parked | Self::NodeGap => Some(Duration::from_secs(10)),
            Self::Promoted => Some(Duration::from_secs(5)),
            Self::FailoverGap => Some(Duration::from_secs(15)),
            Self::Flows => None,
        }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Self::Consuming => "service started → consuming",
            Self::BrokerFlows => "broker ready → first event",
            Self::DatabaseFlows => "Postgres ready → first event",
            Self::Flows => "fault over → first event",
            Self::Noticed => "broker silent → noticed by all",
            Self::SilentFlows => "link silent → first event",
            Self::Settled => "earlier orders → all final",
            Self::Promoted => "standby promoted → first event",
            Self::NodeGap | Self::FailoverGap => "longest gap in confirmed orders",
            Self::Parked => "hostile → dead letter",
        }
    }
}

/// Measures from one moment on.
pub struct Since {
    at: Instant,
    by_clock: DateTime<Utc>,
}

impl Since {
    pub fn now() -> Self {
        Self { at: Instant::now(), by_clock: SystemEnv.now() }
    }

    /// From the moment at which the database accepts a login.
    pub async fn database_answers(url: &str) -> Self {
        loop {
            let asked = Self::now();
            if PgConnection::connect(url).await.is_ok() {
                return asked;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// From the moment at which the broker accepts a login.
    pub async fn broker_answers(url: &str) -> Self {
        loop {
            let asked = Self::now();
            let connected = Connection::connect(url, ConnectionProperties::default());
            if timeout(LOGIN_WITHIN, connected).await.is_ok_and(|done| done.is_ok()) {
                return asked;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Until each queue of the service has all its consumers.
    pub async fn consuming(&self, endpoints: &Endpoints, service: &str) -> Result<Duration> {
        self.consumers(endpoints, service, REPLICAS).await
    }

    /// Until each queue of the service has exactly this many consumers.
    pub async fn consumers(
        &self,
        endpoints: &Endpoints,
        service: &str,
        wanted: usize,
    ) -> Result<Duration> {
        let looked = async {
            let broker = Broker::connect(endpoints).await?;
            for step in steps_of(service) {
                let queue = queue_name(service, step.hears);
                while broker.state(&queue).await?.is_none_or(|it| it.consumers as usize != wanted) {
                    sleep(LOOK_EVERY).await;
                }
            }
            Ok(self.at.elapsed())
        };
        let found = timeout(BOUND, looked).await;
        found.with_context(|| format!("{service}'s queues have not {wanted} consumers each"))?
    }

    /// Until one of these services, by index, has handled or published an event; none where there
    /// is no event left to handle.
    pub async fn flows(
        &self,
        endpoints: &Endpoints,
        services: &[usize],
        tap: &Tap,
        live: &Live,
    ) -> Result<Option<Duration>> {
        let names: Vec<_> = services.iter().map(|place| SERVICES[*place]).collect();
        let looks = names.iter().map(|name| Box::pin(self.heard_by(endpoints, name)));
        tokio::select! {
            found = select_ok(looks) => found.map(|((), _)| Some(self.at.elapsed())),
            () = tap.said(&names, self.by_clock) => Ok(Some(self.at.elapsed())),
            () = live.all_final() => Ok(None),
            () = sleep(BOUND) => bail!("nothing flows any more, for {BOUND:?}"),
        }
    }

    /// Until every order that was placed before is final.
    pub async fn settled(&self, endpoints: &Endpoints, bound: Duration) -> Result<Duration> {
        let url = endpoints.database("order")?;
        let mut open = 0;
        let looked = async {
            let mut database = PgConnection::connect(url).await?;
            loop {
                open = open_before(&mut database, self.by_clock).await?;
                if open == 0 {
                    return Ok(self.at.elapsed());
                }
                sleep(LOOK_EVERY * 10).await;
            }
        };
        match timeout(bound, looked).await {
            Ok(found) => found,
            Err(_) => bail!("{} of before not final after {bound:?}", some(open, "order")),
        }
    }

    /// The longest time since then in which no order was confirmed.
    pub async fn longest_gap(&self, endpoints: &Endpoints) -> Result<Duration> {
        let url = endpoints.database("order")?;
        let mut database = PgConnection::connect(url).await?;
        let seconds: f64 = sqlx::query_scalar(
            "WITH moments AS (
                 SELECT updated_at AS at FROM orders
                 WHERE outcome = 'CONFIRMED' AND updated_at > $1
                 UNION ALL
                 VALUES ($1), (now()))
             SELECT MAX(EXTRACT(EPOCH FROM gap))::FLOAT8
             FROM (SELECT at - LAG(at) OVER (ORDER BY at) AS gap FROM moments) AS gaps",
        )
        .bind(self.by_clock)
        .fetch_one(&mut database)
        .await?;
        Ok(Duration::from_secs_f64(seconds))
    }

    async fn heard_by(&self, endpoints: &Endpoints, service: &str) -> Result<()> {
        let url = endpoints.database(service)?;
        loop {
            // It may refuse for a moment, or for ever: the caller has a bound.
            let asked = async {
                let mut database = PgConnection::connect(url).await?;
                while !has_heard(&mut database, self.by_clock).await? {
                    sleep(LOOK_EVERY).await;
                }
                Ok::<_, sqlx::Error>(())
            };
            if asked.await.is_ok() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Until every service reports that it does not consume.
    pub async fn noticed(&self, fleet: &Fleet) -> Result<Duration> {
        let looked = async {
            while fleet.system.replicas.iter().any(ChildProcess::is_consuming) {
                sleep(LOOK_EVERY).await;
            }
        };
        let noticed = timeout(BOUND, looked).await;
        noticed.with_context(|| {
            let left = fleet.system.replicas.iter().filter(|part| part.is_consuming());
            let left: Vec<_> = left.map(|part| part.service.name).collect();
            format!("not noticed within {BOUND:?} by {}", left.join(", "))
        })?;
        Ok(self.at.elapsed())
    }
}

async fn open_before(database: &mut PgConnection, moment: DateTime<Utc>) -> sqlx::Result<usize> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*)
         FROM orders
         WHERE outcome IS NULL
             AND created_at < $1",
    )
    .bind(moment)
    .fetch_one(database)
    .await?;
    Ok(usize::try_from(open).unwrap_or_default())
}

async fn has_heard(database: &mut PgConnection, since: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM idempotency_keys WHERE handled_at > $1)")
        .bind(since)
        .fetch_one(database)
        .await
}
