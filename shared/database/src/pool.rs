//! Pools connections to Postgres. sqlx's pool has no deadline for a silent server (neither for a
//! statement nor for its own ping), so this is our own pool over sqlx's connections: every wait is
//! bounded, and a connection that was silent is closed.

use crate::{
    Backoff, FromRow, Limits, PgConnection, Session, Transaction,
    erased::{self, Done, ErasedStatement, Rows, Steps},
    hosts::{Connect, CurrentHosts, Host, Refused},
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
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, oneshot},
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
        let (live, room) = self.lend(SURE_FOR).await?;
        Ok(PgConnection::new(live, self.0.idle.clone(), room))
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
        let (live, room) = self.lend(sure_for).await?;
        Ok(Session::new(live, self.0.idle.clone(), room))
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

    async fn lend<C: Raw>(&self, sure_for: Duration) -> Result<Lent<C>, Error> {
        let until = Instant::now() + self.limits().acquire();
        let mut last = None;
        let lent = timeout_at(until, self.find(sure_for, until, &mut last)).await;
        // A refusal says more than silence.
        lent.unwrap_or_else(|_| {
            let said = self.0.hosts.get().said().or(last);
            Err(said.unwrap_or_else(|| late("a connection", self.limits().acquire())))
        })
    }

    /// Waits for a server that is starting, or for a standby that is promoted.
    async fn find<C: Raw>(
        &self,
        sure_for: Duration,
        until: Instant,
        last: &mut Option<Error>,
    ) -> Result<Lent<C>, Error> {
        let longest = self.limits().acquire() / 5;
        let backoff = Backoff { first: Duration::from_millis(10), longest };
        let mut waits = 0;
        let lane = C::lane(&self.0.idle);
        let mut room = lane.room().await?;
        loop {
            let mut returned = pin!(lane.returned.notified());
            returned.as_mut().enable();
            let found = match self.0.idle.take(lane)? {
                Some(Idle { mut live, since }) => match live.raw.is_quiet() {
                    false => continue,
                    true if since.elapsed() < sure_for => return Ok((live, room)),
                    true => self.finish(room, None, self.clone().check(live)).await?,
                },
                None => {
                    let opening = select! {
                        biased;
                        () = returned => continue,
                        opening = lane.opening() => opening?,
                    };
                    self.finish(room, Some(opening), self.clone().connect()).await?
                }
            };
            let refused = match found {
                (Ok(Some(live)), room) => return Ok((live, room)),
                (Ok(None), back) => {
                    room = back;
                    continue;
                }
                (Err(refused), back) => {
                    room = back;
                    refused
                }
            };
            let pause = backoff.after(waits);
            if !refused.may_pass || Instant::now() + pause >= until {
                return Err(refused.why);
            }
            *last = Some(refused.why);
            sleep(pause).await;
            waits += 1;
        }
    }

    /// Ends this work even if its asker gives up, whose connection is idle then. Otherwise, where a
    /// connection takes longer than its askers wait, there would never be one.
    async fn finish<C: Raw>(
        &self,
        room: OwnedSemaphorePermit,
        opening: Option<OwnedSemaphorePermit>,
        work: impl Future<Output = Found<C>> + Send + 'static,
    ) -> Result<(Found<C>, OwnedSemaphorePermit), Error> {
        let idle = self.0.idle.clone();
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            if let Err((Ok(Some(live)), room)) = sender.send((work.await, room)) {
                idle.put(C::lane(&idle), live, room);
            }
            // After the connection: the next one to open finds it.
            drop(opening);
        });
        receiver.await.map_err(|_| Error::PoolClosed)
    }

    /// None where it is dead.
    async fn check<C: Raw>(self, mut live: Live<C>) -> Found<C> {
        match timeout(self.limits().ping(), live.raw.ping()).await {
            Ok(Ok(())) => return Ok(Some(live)),
            // Its server may have been restarted: then the other connections are dead too.
            Ok(Err(_)) => {}
            // The others will not answer either, and each would cost a wait.
            Err(_) => self.0.idle.forget(),
        }
        Ok(None)
    }

    async fn connect<C: Raw>(self) -> Found<C> {
        if self.0.idle.is_in_doubt() {
            self.0.hosts.get().doubt();
        }
        let raw = self.0.hosts.connect(self.limits()).await?;
        Ok(Some(Live { raw, expires: Instant::now() + self.lifetime() }))
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

type Lent<C> = (Live<C>, OwnedSemaphorePermit);
type Found<C> = Result<Option<Live<C>>, Refused>;

/// A connection of one of the lanes.
trait Raw: Connect + 'static {
    fn lane(idle: &IdleConnections) -> &Lane<Self>;

    fn ping(&mut self) -> Done<'_, ()>;

    /// False if it is known to be closed.
    fn is_quiet(&mut self) -> bool {
        true
    }
}

impl Raw for sqlx::PgConnection {
    fn lane(idle: &IdleConnections) -> &Lane<Self> {
        &idle.reading
    }

    fn ping(&mut self) -> Done<'_, ()> {
        erased::ping(self)
    }
}

impl Raw for Wire {
    fn lane(idle: &IdleConnections) -> &Lane<Self> {
        &idle.writing
    }

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
