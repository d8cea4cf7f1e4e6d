//! A writer's connection: its statements wait until the first answer is awaited, and are sent
//! together.

use crate::{
    FromRow,
    failure::is_read_only,
    idle::{IdleConnections, Live},
    limits::late,
    row::Row,
    statement::{FEW, Statement, few_rows},
    wire::{State, Wire},
};
use futures::{FutureExt, future::BoxFuture};
use sqlx::{Encode, Error, Postgres, Type, postgres::PgHasArrayType};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, io,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit},
    time::timeout,
};

/// Dropped, the connection returns to the pool: at once, or after a rollback; if that does not end
/// in time, it is closed.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    asked: Mutex<Asked>,
    line: AsyncMutex<Line>,
}

#[derive(Default)]
struct Asked {
    waiting: Vec<Statement>,
    /// The number of the first of them.
    first: usize,
    /// Rows that were received before their future was awaited, by the statement's number.
    answers: HashMap<usize, Vec<Row>>,
}

struct Line {
    live: Option<Live<Wire>>,
    /// After a failure nothing more is sent: it could be outside the transaction.
    has_failed: bool,
    idle: Arc<IdleConnections>,
    room: Option<OwnedSemaphorePermit>,
}

/// A statement that is not sent yet; its values come next.
#[must_use]
pub struct Query<'a> {
    session: &'a Session,
    statement: Statement,
    /// A column's values are bound one by one, and not as an array.
    is_few: bool,
}

impl Session {
    pub(crate) fn new(
        live: Live<Wire>,
        idle: Arc<IdleConnections>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        let line =
            AsyncMutex::new(Line { live: Some(live), has_failed: false, idle, room: Some(room) });
        Self(Arc::new(Shared { asked: Mutex::default(), line }))
    }

    pub fn query(&self, sql: impl Into<Cow<'static, str>>) -> Query<'_> {
        Query { session: self, statement: Statement::new(sql), is_few: false }
    }

    /// A statement about so many rows, `FROM UNNEST($1::TYPE[], …)`: each array by `each`.
    pub fn batch(&self, sql: &'static str, rows: usize) -> Query<'_> {
        let is_few = (1..=FEW).contains(&rows);
        Query { is_few, ..self.query(if is_few { few_rows(sql, rows) } else { sql }) }
    }

    /// Its number.
    fn ask(&self, statement: Statement) -> usize {
        let mut asked = self.0.asked();
        asked.waiting.push(statement);
        asked.first + asked.waiting.len() - 1
    }

    /// Sends what was asked and is not sent yet, and waits for the answers.
    pub fn flush(&self) -> BoxFuture<'static, Result<(), Error>> {
        let shared = self.0.clone();
        async move { shared.exchange(&mut *shared.line.lock().await).await }.boxed()
    }
}

impl Query<'_> {
    pub fn bind<'q, T: Encode<'q, Postgres> + Type<Postgres>>(mut self, value: T) -> Self {
        self.statement.bind(value);
        self
    }

    /// The rows' values of the next column of a batch.
    pub fn each<'q, T>(self, values: impl IntoIterator<Item = T>) -> Self
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        if self.is_few {
            values.into_iter().fold(self, Query::bind)
        } else {
            self.bind(values.into_iter().collect::<Vec<_>>())
        }
    }

    /// What it changes is seen by the statements after it; if it fails, so do they.
    pub fn run(self) {
        self.session.ask(self.statement);
    }

    pub fn done(self) -> BoxFuture<'static, Result<(), Error>> {
        self.session.ask(self.statement);
        self.session.flush()
    }

    pub fn rows<R: FromRow>(self) -> BoxFuture<'static, Result<Vec<R>, Error>> {
        let number = self.session.ask(self.statement);
        let shared = self.session.0.clone();
        async move { shared.rows(number).await?.iter().map(R::from_row).collect() }.boxed()
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rows(&self, number: usize) -> Result<Vec<Row>, Error> {
        let mut line = self.line.lock().await;
        if number >= self.asked().first {
            self.exchange(&mut line).await?;
        }
        let rows = self.asked().answers.remove(&number);
        rows.ok_or_else(has_failed)
    }

    async fn exchange(&self, line: &mut Line) -> Result<(), Error> {
        let (first, mut statements) = {
            let mut asked = self.asked();
            let statements = std::mem::take(&mut asked.waiting);
            asked.first += statements.len();
            (asked.first - statements.len(), statements)
        };
        if statements.is_empty() {
            return Ok(());
        }
        let answers = line.exchange(&mut statements).await?;
        let numbered = answers.into_iter().zip(first..).map(|(rows, number)| (number, rows));
        self.asked().answers.extend(numbered);
        Ok(())
    }
}

impl Line {
    async fn exchange(&mut self, statements: &mut [Statement]) -> Result<Vec<Vec<Row>>, Error> {
        let Some(live) = self.live.as_mut().filter(|_| !self.has_failed) else {
            return Err(has_failed());
        };
        self.has_failed = true;
        let limit = self.idle.limits.statement();
        let Ok(answers) = timeout(limit, live.raw.exchange(statements)).await else {
            self.idle.forget();
            return Err(late("a statement", limit));
        };
        self.has_failed = answers.is_err();
        if answers.as_ref().is_err_and(is_read_only) {
            self.live = None;
            self.idle.forget();
        }
        answers
    }
}

fn has_failed() -> Error {
    let why = "an earlier statement of this transaction has failed";
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, why))
}

impl Drop for Line {
    fn drop(&mut self) {
        let (Some(mut live), Some(room)) = (self.live.take(), self.room.take()) else {
            return;
        };
        let idle = self.idle.clone();
        match (live.raw.state(), Handle::try_current()) {
            (State::Ready, _) => idle.put(&idle.writing, live, room),
            (State::InTransaction, Ok(runtime)) => {
                runtime.spawn(async move {
                    let rollback = &mut [Statement::new("ROLLBACK")];
                    let ended = timeout(idle.limits.statement(), live.raw.exchange(rollback)).await;
                    if matches!(ended, Ok(Ok(_))) {
                        idle.put(&idle.writing, live, room);
                    }
                });
            }
            (State::InTransaction | State::Lost, _) => {}
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Session")
    }
}

/// Dropped without `commit`, it never happened.
#[derive(Debug)]
#[must_use = "a transaction is rolled back unless it is committed"]
pub struct Transaction(Session);

impl Transaction {
    pub(crate) fn new(session: Session) -> Self {
        session.query("BEGIN").run();
        Self(session)
    }

    /// With what was asked and is not sent yet.
    pub async fn commit(self) -> Result<(), Error> {
        self.0.query("COMMIT").run();
        self.0.flush().await
    }
}

impl Deref for Transaction {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
