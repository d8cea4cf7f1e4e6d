//! Bounds every wait on a connection: each statement, on a connection or on the pool, passes
//! through the executors here.

use crate::pool::{Live, PgPool, Purpose};
use futures::{
    FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Connection, Either, Error, Execute, Executor, Postgres, SqlStr,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTransactionManager, PgTypeInfo},
};
use sqlx_core::transaction::TransactionManager;
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout},
};

type Rows<'e> = BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>;

/// A connection of the pool, used like sqlx's own. Dropped, it returns to the pool: at once, or
/// when its present work has ended; if that does not end in time, it is closed.
pub struct PgConnection {
    live: Option<Live>,
    state: State,
    pool: PgPool,
    purpose: Purpose,
    room: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// In use; or abandoned half-way, or after an error.
    Busy,
    /// Silent, or broken.
    Lost,
}

impl PgConnection {
    pub(crate) fn new(
        live: Live,
        pool: PgPool,
        purpose: Purpose,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { live: Some(live), state: State::Ready, pool, purpose, room: Some(room) }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.watched(|raw| PgTransactionManager::commit(raw).boxed()).await
    }

    /// Sent with the ping, before the next caller gets the connection.
    pub(crate) fn start_rollback(&mut self) {
        if let Some(Live { raw, .. }) = &mut self.live
            && PgTransactionManager::get_transaction_depth(raw) > 0
        {
            PgTransactionManager::start_rollback(raw);
            self.state = self.state.max_trouble(State::Busy);
        }
    }

    async fn watched<'a, T>(
        &'a mut self,
        work: impl FnOnce(&'a mut sqlx::PgConnection) -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.pool.limits().statement();
        let Self { live: Some(Live { raw, .. }), state, pool, .. } = self else {
            return Err(gone());
        };
        if *state == State::Lost {
            return Err(gone());
        }
        *state = State::Busy;
        match timeout(limit, work(raw)).await {
            Ok(done) => {
                *state = State::after(done.as_ref().err());
                done
            }
            Err(_) => Err(silent(state, pool)),
        }
    }
}

impl State {
    fn after(failure: Option<&Error>) -> Self {
        match failure {
            None | Some(Error::Encode(_) | Error::RowNotFound) => Self::Ready,
            // The server may have ended the session with it.
            Some(Error::Database(_)) => Self::Busy,
            Some(_) => Self::Lost,
        }
    }

    fn max_trouble(self, other: Self) -> Self {
        if self == Self::Lost { self } else { other }
    }
}

/// An operation that has exceeded its limit.
pub(crate) fn late(what: &str, limit: Duration) -> Error {
    let why = format!("the database is silent: {what} has taken more than {limit:?}");
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

fn silent(state: &mut State, pool: &PgPool) -> Error {
    *state = State::Lost;
    pool.forget_idle();
    late("a statement", pool.limits().statement())
}

fn gone() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, "this connection was thrown away"))
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        let (Some(mut live), Some(room)) = (self.live.take(), self.room.take()) else {
            return;
        };
        let (pool, purpose) = (self.pool.clone(), self.purpose);
        match (self.state, Handle::try_current()) {
            (State::Ready, _) => pool.put(live, purpose, room),
            (State::Busy, Ok(runtime)) => {
                runtime.spawn(async move {
                    let ended = timeout(pool.limits().statement(), live.raw.ping()).await;
                    if matches!(ended, Ok(Ok(()))) {
                        pool.put(live, purpose, room);
                    }
                });
            }
            (State::Busy | State::Lost, _) => {}
        }
    }
}

/// Rows that come until a deadline.
struct Watched<'e> {
    rows: Rows<'e>,
    late: Pin<Box<Sleep>>,
    state: &'e mut State,
    pool: &'e PgPool,
}

impl Stream for Watched<'_> {
    type Item = Result<Either<PgQueryResult, PgRow>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.rows.poll_next_unpin(context) {
            Poll::Ready(next) => {
                match &next {
                    None => *this.state = State::Ready,
                    Some(Ok(_)) => {}
                    Some(Err(why)) => *this.state = State::after(Some(why)),
                }
                Poll::Ready(next)
            }
            Poll::Pending => {
                std::task::ready!(this.late.poll_unpin(context));
                Poll::Ready(Some(Err(silent(this.state, this.pool))))
            }
        }
    }
}

impl<'c> Executor<'c> for &'c mut PgConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Rows<'e>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let PgConnection { live: Some(Live { raw, .. }), state, pool, .. } = self else {
            return stream::once(async { Err(gone()) }).boxed();
        };
        if *state == State::Lost {
            return stream::once(async { Err(gone()) }).boxed();
        }
        *state = State::Busy;
        let late = Box::pin(sleep(pool.limits().statement()));
        Watched { rows: raw.fetch_many(query), late, state, pool }.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.watched(|raw| raw.fetch_optional(query)).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        self.watched(|raw| raw.prepare_with(sql, parameters)).boxed()
    }
}

/// On a connection to read on.
impl<'p> Executor<'p> for &PgPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Rows<'e>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let rows = async move {
            let mut connection = pool.acquire().await?;
            connection.fetch_many(query).try_collect::<Vec<_>>().await
        };
        rows.map_ok(|rows| stream::iter(rows).map(Ok)).try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.fetch_optional(query).await }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PgConnection({:?}, {:?})", self.purpose, self.state)
    }
}
