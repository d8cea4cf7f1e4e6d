//! Bounds every wait on a connection to read on: each statement, also one on the pool, passes
//! through the executor here.

use crate::{
    erased::{self, Done, ErasedStatement, Rows, Steps},
    failure::is_read_only,
    idle::{IdleConnections, Live},
    limits::late,
};
use futures::{FutureExt, Stream, StreamExt, future, stream};
use sqlx::{
    Either, Error, Execute, Executor, Postgres, SqlStr,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout},
};

/// A connection of the pool, used like sqlx's own. Dropped, it returns to the pool: at once, or
/// when its present work has ended; if that does not end in time, it is closed.
pub struct PgConnection {
    live: Option<Live<sqlx::PgConnection>>,
    state: State,
    idle: Arc<IdleConnections>,
    room: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// In use; or abandoned half-way, or after an error.
    Busy,
    /// Silent, or broken, or of a server that is a standby now.
    Lost,
}

impl PgConnection {
    pub(crate) fn new(
        live: Live<sqlx::PgConnection>,
        idle: Arc<IdleConnections>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { live: Some(live), state: State::Ready, idle, room: Some(room) }
    }

    /// Busy from now on. Fails if the connection is lost.
    fn begin_work(
        &mut self,
    ) -> Result<(&mut sqlx::PgConnection, &mut State, &IdleConnections), Error> {
        match &mut self.live {
            Some(Live { raw, .. }) if self.state != State::Lost => {
                self.state = State::Busy;
                Ok((raw, &mut self.state, &self.idle))
            }
            _ => {
                let why = "this connection was thrown away";
                Err(Error::Io(io::Error::new(io::ErrorKind::NotConnected, why)))
            }
        }
    }

    fn watched<'a, T: Send + 'a>(
        &'a mut self,
        work: impl FnOnce(&'a mut sqlx::PgConnection) -> Done<'a, T>,
    ) -> Done<'a, T> {
        let (raw, state, idle) = match self.begin_work() {
            Ok(parts) => parts,
            Err(gone) => return future::ready(Err(gone)).boxed(),
        };
        let work = timeout(idle.limits.statement(), work(raw));
        let watched = async move {
            match work.await {
                Ok(done) => {
                    *state = State::after(done.as_ref().err(), idle);
                    done
                }
                Err(_) => Err(silent(state, idle)),
            }
        };
        watched.boxed()
    }
}

impl State {
    fn after(failure: Option<&Error>, idle: &IdleConnections) -> Self {
        match failure {
            None | Some(Error::Encode(_) | Error::RowNotFound) => Self::Ready,
            Some(why) if is_read_only(why) => {
                idle.forget();
                Self::Lost
            }
            // The server may have ended the session with it.
            Some(Error::Database(_)) => Self::Busy,
            Some(_) => Self::Lost,
        }
    }
}

fn silent(state: &mut State, idle: &IdleConnections) -> Error {
    *state = State::Lost;
    idle.forget();
    late("a statement", idle.limits.statement())
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        let (Some(mut live), Some(room)) = (self.live.take(), self.room.take()) else {
            return;
        };
        let idle = self.idle.clone();
        match (self.state, Handle::try_current()) {
            (State::Ready, _) => idle.put(&idle.reading, live, room),
            (State::Busy, Ok(runtime)) => {
                runtime.spawn(async move {
                    let ended = timeout(idle.limits.statement(), erased::ping(&mut live.raw)).await;
                    if matches!(ended, Ok(Ok(()))) {
                        idle.put(&idle.reading, live, room);
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
    idle: &'e IdleConnections,
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
                    Some(Err(why)) => *this.state = State::after(Some(why), this.idle),
                }
                Poll::Ready(next)
            }
            Poll::Pending => {
                std::task::ready!(this.late.poll_unpin(context));
                Poll::Ready(Some(Err(silent(this.state, this.idle))))
            }
        }
    }
}

impl PgConnection {
    pub(crate) fn steps(&mut self, statement: ErasedStatement) -> Steps<'_> {
        let (raw, state, idle) = match self.begin_work() {
            Ok(parts) => parts,
            Err(gone) => return stream::iter([Err(gone)]).boxed(),
        };
        let late = Box::pin(sleep(idle.limits.statement()));
        Watched { steps: erased::fetch_many(raw, statement), late, state, idle }.boxed()
    }

    pub(crate) fn row(&mut self, statement: ErasedStatement) -> Done<'_, Option<PgRow>> {
        self.watched(|raw| erased::fetch_optional(raw, statement))
    }

    pub(crate) fn prepared<'a>(
        &'a mut self,
        sql: SqlStr,
        parameters: &'a [PgTypeInfo],
    ) -> Done<'a, PgStatement> {
        self.watched(|raw| erased::prepare(raw, sql, parameters))
    }
}

erased::executor!('c, &'c mut PgConnection);

impl fmt::Debug for PgConnection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PgConnection({:?})", self.state)
    }
}
