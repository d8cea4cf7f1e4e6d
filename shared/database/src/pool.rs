//! Pools connections to Postgres. sqlx's pool has no deadline for a silent server (neither for a
//! statement nor for its own ping), so this is our own pool over sqlx's connections: every wait is
//! bounded, and a connection that was silent is closed.

use crate::{
    Backoff, FromRow, Limits, PgConnection, Session, Transaction,
    erased::{self, Done, ErasedStatement, Rows, Steps},
    hosts::{Connect, CurrentHosts, Host},
    idle::{Idle, IdleConnections, Lane, Live},
    limits::late,
    statement::Statement,
    wire::Wire,
};
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use secret::Secret;
use sqlx::{
    Error, Execute, Executor, Postgres, Row, SqlStr,
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout, timeout_at},
};

/// Plans that always go by an index: Postgres keeps the plan of a prepared statement, and one made
/// while a table is new and empty would read all of it again and again as it grows.
const SESSION: [(&str, &str); 3] = [
    ("enable_seqscan", "off"),
    // A query that must scan a table has such a high cost then that it would be compiled first.
    ("jit", "off"),
    ("synchronous_commit", "on"),
];
/// Writers use keys, so that one plan serves all. Postgres would plan most statements anew for each
/// array, which takes longer than their work on a few rows. Readers use values that match few or
/// many rows, and get a plan for each.
const PLAN_ONCE: (&str, &str) = ("plan_cache_mode", "force_generic_plan");
/// A connection is asked whether it is alive only after so long: before a statement that cannot be
/// retried; and before a transaction, which can be.
const SURE_FOR: Duration = Duration::from_millis(100);
const LIKELY_FOR: Duration = Duration::from_secs(1);
/// Connections are renewed, since the network path to the server may have changed.
const LIFETIME: Duration = Duration::from_mins(10);

#[derive(Clone)]
pub struct PgPool(Arc<Inner>);

struct Inner {
    hosts: CurrentHosts,
    connections_max: u32,
    idle: Arc<IdleConnections>,
    opened: AtomicU32,
}

impl PgPool {
    /// Connects at the first use: the caller reports a wait for the database.
    pub fn new(
        url: impl Into<Secret>,
        name: &str,
        connections_max: u32,
        limits: Limits,
    ) -> Result<Self, Error> {
        let name = name.to_owned();
        let settings = move |options: PgConnectOptions| {
            options.application_name(&name).options(SESSION).options(limits.session())
        };
        let writing = |options: PgConnectOptions| options.options([PLAN_ONCE]);
        let hosts = CurrentHosts::new(url.into(), Box::new(settings), Box::new(writing))?;
        let writers = (connections_max / 2).max(1);
        let readers = connections_max.saturating_sub(writers).max(1);
        let idle = Arc::new(IdleConnections::new(limits, readers, writers));
        Ok(Self(Arc::new(Inner { hosts, connections_max, idle, opened: 0.into() })))
    }

    /// A connection to read on.
    pub async fn acquire(&self) -> Result<PgConnection, Error> {
        let idle = &self.0.idle;
        let (live, room) = self.lend(&idle.reading, SURE_FOR).await?;
        Ok(PgConnection::new(live, idle.clone(), room))
    }

    /// A connection to write on, for a statement that is a transaction by itself and so cannot be
    /// retried safely.
    pub async fn statement(&self) -> Result<Session, Error> {
        self.session(SURE_FOR).await
    }

    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction::new(self.session(LIKELY_FOR).await?))
    }

    async fn session(&self, sure_for: Duration) -> Result<Session, Error> {
        let idle = &self.0.idle;
        let (live, room) = self.lend(&idle.writing, sure_for).await?;
        Ok(Session::new(live, idle.clone(), room))
    }

    /// No connection is given away any more.
    pub fn close(&self) {
        self.0.idle.close();
    }

    /// How to connect without the pool; to the primary, where the URL names several hosts.
    pub async fn options(&self) -> Result<PgConnectOptions, Error> {
        self.acquire().await?;
        Ok(self.0.hosts.get().chosen().options.clone())
    }

    pub fn limits(&self) -> Limits {
        self.0.idle.limits
    }

    async fn lend<C: Raw + Connect>(
        &self,
        lane: &Lane<C>,
        sure_for: Duration,
    ) -> Result<(Live<C>, OwnedSemaphorePermit), Error> {
        let until = Instant::now() + self.limits().acquire();
        let found = timeout_at(until, async {
            let room = lane.room().await?;
            Ok((self.find(lane, sure_for, until).await?, room))
        });
        found.await.unwrap_or_else(|_| Err(late("a connection", self.limits().acquire())))
    }

    async fn find<C: Raw + Connect>(
        &self,
        lane: &Lane<C>,
        sure_for: Duration,
        until: Instant,
    ) -> Result<Live<C>, Error> {
        while let Some(Idle { mut live, since }) = self.0.idle.take(lane)? {
            if !live.raw.is_quiet() {
                continue;
            }
            if since.elapsed() < sure_for {
                return Ok(live);
            }
            match timeout(self.limits().ping(), live.raw.ping()).await {
                Ok(Ok(())) => return Ok(live),
                // Its server may have been restarted: then the other connections are dead too.
                Ok(Err(_)) => {}
                // The others will not answer either, and each would cost a wait.
                Err(_) => self.0.idle.forget(),
            }
        }
        let raw = self.connect(until).await?;
        Ok(Live { raw, expires: Instant::now() + self.lifetime() })
    }

    /// Waits for a server that is starting, or for a standby that is promoted.
    async fn connect<C: Connect>(&self, until: Instant) -> Result<C, Error> {
        let longest = self.limits().acquire() / 5;
        let backoff = Backoff { first: Duration::from_millis(10), longest };
        let (mut waits, mut last) = (0, None);
        loop {
            if self.0.idle.is_in_doubt() {
                self.0.hosts.get().doubt();
            }
            let connected = timeout_at(until, self.0.hosts.connect(self.limits().ping())).await;
            let refused = match connected {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(refused)) => refused,
                // An earlier refusal says more than its silence now.
                Err(_) => {
                    let late = || late("a connection", self.limits().acquire());
                    return Err(last.unwrap_or_else(late));
                }
            };
            let pause = backoff.after(waits);
            if !refused.may_pass || Instant::now() + pause >= until {
                return Err(refused.why);
            }
            last = Some(refused.why);
            sleep(pause).await;
            waits += 1;
        }
    }

    /// Between half of it and all of it, so that not all are renewed at once.
    fn lifetime(&self) -> Duration {
        LIFETIME - LIFETIME / 16 * (self.0.opened.fetch_add(1, Ordering::Relaxed) % 8)
    }
}

impl PgPool {
    fn steps(&self, statement: ErasedStatement) -> Steps<'static> {
        let pool = self.clone();
        let steps = async move {
            let mut connection = pool.acquire().await?;
            connection.steps(statement).try_collect::<Vec<_>>().await
        };
        steps.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
    }

    fn row(&self, statement: ErasedStatement) -> Done<'static, Option<PgRow>> {
        let pool = self.clone();
        async move { pool.acquire().await?.row(statement).await }.boxed()
    }

    fn prepared<'a>(&self, sql: SqlStr, parameters: &'a [PgTypeInfo]) -> Done<'a, PgStatement> {
        let pool = self.clone();
        async move { pool.acquire().await?.prepared(sql, parameters).await }.boxed()
    }
}

// On a connection to read on.
erased::executor!('p, &'p PgPool);

impl fmt::Debug for PgPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PgPool({} connections)", self.0.connections_max)
    }
}

/// A connection of one of the lanes.
trait Raw {
    fn ping(&mut self) -> Done<'_, ()>;

    /// False if it is known to be closed.
    fn is_quiet(&mut self) -> bool {
        true
    }
}

impl Raw for sqlx::PgConnection {
    fn ping(&mut self) -> Done<'_, ()> {
        erased::ping(self)
    }
}

impl Raw for Wire {
    fn ping(&mut self) -> Done<'_, ()> {
        self.exchange(&mut []).map_ok(|_| ()).boxed()
    }

    fn is_quiet(&mut self) -> bool {
        Self::is_quiet(self)
    }
}

impl Connect for sqlx::PgConnection {
    fn connect(host: &Host) -> Done<'_, Self> {
        erased::connect(&host.options)
    }

    fn ask(&mut self, sql: &'static str) -> Done<'_, Option<i32>> {
        let asked = erased::fetch_optional(self, ErasedStatement::of(sqlx::query(sql)));
        async move { asked.await?.map_or(Ok(None), |row| row.try_get(0)) }.boxed()
    }
}

impl Connect for Wire {
    fn connect(host: &Host) -> Done<'_, Self> {
        host.login.connect().boxed()
    }

    fn ask(&mut self, sql: &'static str) -> Done<'_, Option<i32>> {
        async move {
            let rows = self.exchange(&mut [Statement::new(sql)]).await?;
            let row = rows.first().and_then(|rows| rows.first());
            row.map_or(Ok(None), |row| Ok(<(Option<i32>,)>::from_row(row)?.0))
        }
        .boxed()
    }
}

#[cfg(all(test, feature = "testing"))]
impl PgPool {
    pub(crate) fn connections_max(&self) -> u32 {
        self.0.connections_max
    }

    pub(crate) fn idle(&self) -> &IdleConnections {
        &self.0.idle
    }
}
