//! Bounds every wait on a connection: each statement, on a connection or on the pool, passes
//! through the executors here.

use crate::{
    erased::{self, Done, Rows, Statement, Steps},
    pool::{Live, PgPool, Purpose},
};
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt, future, stream};
use sqlx::{
    Either, Error, Execute, Executor, Postgres, SqlStr,
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

    pub(crate) fn commit(&mut self) -> Done<'_, ()> {
        self.watched(erased::commit)
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

    fn watched<'a, T: Send + 'a>(
        &'a mut self,
        work: impl FnOnce(&'a mut sqlx::PgConnection) -> Done<'a, T>,
    ) -> Done<'a, T> {
        let limit = self.pool.limits().statement();
        let Self { live: Some(Live { raw, .. }), state, pool, .. } = self else {
            return future::ready(Err(gone())).boxed();
        };
        if *state == State::Lost {
            return future::ready(Err(gone())).boxed();
        }
        *state = State::Busy;
        let work = timeout(limit, work(raw));
        let watched = async move {
            match work.await {
                Ok(done) => {
                    *state = State::after(done.as_ref().err());
                    done
                }
                Err(_) => Err(silent(state, pool)),
            }
        };
        watched.boxed()
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
                    let ping = erased::ping(&mut live.raw);
                    let ended = timeout(pool.limits().statement(), ping).await;
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
    steps: Steps<'e>,
    late: Pin<Box<Sleep>>,
    state: &'e mut State,
    pool: &'e PgPool,
}

impl Stream for Watched<'_> {
    type Item = Result<Either<PgQueryResult, PgRow>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.steps.poll_next_unpin(context) {
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

impl PgConnection {
    fn steps(&mut self, statement: Statement) -> Steps<'_> {
        let Self { live: Some(Live { raw, .. }), state, pool, .. } = self else {
            return stream::iter([Err(gone())]).boxed();
        };
        if *state == State::Lost {
            return stream::iter([Err(gone())]).boxed();
        }
        *state = State::Busy;
        let late = Box::pin(sleep(pool.limits().statement()));
        Watched { steps: erased::fetch_many(raw, statement), late, state, pool }.boxed()
    }

    fn row(&mut self, statement: Statement) -> Done<'_, Option<PgRow>> {
        self.watched(|raw| erased::fetch_optional(raw, statement))
    }

    fn prepared<'a>(
        &'a mut self,
        sql: SqlStr,
        parameters: &'a [PgTypeInfo],
    ) -> Done<'a, PgStatement> {
        self.watched(|raw| erased::prepare(raw, sql, parameters))
    }
}

impl PgPool {
    fn steps(&self, statement: Statement) -> Steps<'static> {
        let pool = self.clone();
        let steps = async move {
            let mut connection = pool.acquire().await?;
            connection.steps(statement).try_collect::<Vec<_>>().await
        };
        steps.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
    }

    fn row(&self, statement: Statement) -> Done<'static, Option<PgRow>> {
        let pool = self.clone();
        async move { pool.acquire().await?.row(statement).await }.boxed()
    }

    fn prepared<'a>(&self, sql: SqlStr, parameters: &'a [PgTypeInfo]) -> Done<'a, PgStatement> {
        let pool = self.clone();
        async move { pool.acquire().await?.prepared(sql, parameters).await }.boxed()
    }
}

macro_rules! executor {
    ($lifetime:lifetime, $of:ty) => {
        impl<$lifetime> Executor<$lifetime> for $of {
            type Database = Postgres;

            fn execute<'e, 'q: 'e, E>(self, query: E) -> Done<'e, PgQueryResult>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::done(self.steps(Statement::of(query)))
            }

            fn fetch<'e, 'q: 'e, E>(self, query: E) -> Rows<'e>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::rows(self.steps(Statement::of(query)))
            }

            fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> Done<'e, Vec<PgRow>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::all(erased::rows(self.steps(Statement::of(query))))
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Steps<'e>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.steps(Statement::of(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Done<'e, Option<PgRow>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.row(Statement::of(query))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [PgTypeInfo],
            ) -> Done<'e, PgStatement>
            where
                $lifetime: 'e,
            {
                self.prepared(sql, parameters)
            }
        }
    };
}

executor!('c, &'c mut PgConnection);
// On a connection to read on.
executor!('p, &'p PgPool);

impl fmt::Debug for PgConnection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PgConnection({:?}, {:?})", self.purpose, self.state)
    }
}
