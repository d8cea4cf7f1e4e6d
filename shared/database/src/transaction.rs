//! Connections for those who write, kept from one transaction to the next: sqlx's pool asks one
//! that comes back whether it still lives, which would be a round trip more for each of them.

use crate::together::{Together, Written};
use sqlx::{
    Connection, Error, Executor, PgConnection, PgPool, Postgres, pool::PoolConnection,
    postgres::PgTransactionManager,
};
use sqlx_core::transaction::TransactionManager;
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Who writes goes by keys, so that one plan does for all. Postgres would plan most statements anew
/// for each array, which takes longer than to do what they say to a few rows. Who reads goes by
/// values of which there are few or many, and has a plan for each.
const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan";
/// A server that went and came back took longer than this.
const SURELY_THERE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Transactions {
    pool: PgPool,
    kept: Arc<Mutex<Vec<Rested>>>,
    /// Half of the pool; the rest is for those who only read.
    room: Arc<Semaphore>,
}

struct Rested {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

/// A connection to write on. Dropped without `keep`, it is not kept before it has come to an end
/// with what it was at.
pub struct Writing {
    /// Until it is given away.
    connection: Option<PoolConnection<Postgres>>,
    home: Transactions,
    /// After the connection: who gets the room finds it.
    room: Option<OwnedSemaphorePermit>,
}

/// Dropped without `commit`, it never happened.
pub struct Transaction {
    writing: Writing,
    last: Together,
}

impl Transactions {
    pub fn new(pool: PgPool) -> Self {
        let half = usize::try_from(pool.options().get_max_connections() / 2).unwrap_or(1);
        Self { pool, kept: Arc::default(), room: Arc::new(Semaphore::new(half.max(1))) }
    }

    pub async fn begin(&self) -> Result<Transaction, Error> {
        let writing = self.lend(self.begun()).await?;
        Ok(Transaction { writing, last: Together::default() })
    }

    /// For a statement that is a transaction by itself, and so cannot be tried twice.
    pub async fn statement(&self) -> Result<Writing, Error> {
        self.lend(self.living()).await
    }

    /// Once there is room for it.
    async fn lend(
        &self,
        connection: impl Future<Output = Result<PoolConnection<Postgres>, Error>> + Send,
    ) -> Result<Writing, Error> {
        let room = self.room.clone().acquire_owned();
        let room = timeout(self.pool.options().get_acquire_timeout(), room).await;
        let room = room.ok().and_then(Result::ok).ok_or(Error::PoolTimedOut)?;
        let connection = Some(connection.await?);
        Ok(Writing { connection, home: self.clone(), room: Some(room) })
    }

    async fn begun(&self) -> Result<PoolConnection<Postgres>, Error> {
        while let Some(Rested { mut connection, .. }) = self.take() {
            // Its server may have gone since: then so have those of the others.
            if PgTransactionManager::begin(&mut connection, None).await.is_ok() {
                return Ok(connection);
            }
        }
        let mut connection = self.open().await?;
        PgTransactionManager::begin(&mut connection, None).await?;
        Ok(connection)
    }

    async fn living(&self) -> Result<PoolConnection<Postgres>, Error> {
        while let Some(Rested { mut connection, since }) = self.take() {
            if since.elapsed() < SURELY_THERE || connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
        self.open().await
    }

    async fn open(&self) -> Result<PoolConnection<Postgres>, Error> {
        let mut connection = self.pool.acquire().await?;
        // Those who read must not find it, nor anybody one on which a transaction is half begun.
        connection.close_on_drop();
        connection.execute(PLAN_ONCE).await?;
        Ok(connection)
    }

    fn take(&self) -> Option<Rested> {
        if self.pool.is_closed() { None } else { self.kept().pop() }
    }

    fn keep(&self, connection: PoolConnection<Postgres>) {
        self.kept().push(Rested { connection, since: Instant::now() });
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Rested>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// For the next one: what was written is done.
    pub fn keep(mut self) {
        self.rest();
    }

    fn rest(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.home.keep(connection);
        }
    }
}

impl Transaction {
    /// Does this last, together with whatever else is done last.
    pub fn finally(&mut self, statement: &str) -> Written<'_> {
        self.last.add(statement)
    }

    /// Does now what is done last.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.last.execute(&mut self.writing).await
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        self.finish().await?;
        PgTransactionManager::commit(&mut self).await?;
        self.writing.rest();
        Ok(())
    }
}

impl Deref for Writing {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("only its end takes it")
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("only its end takes it")
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.writing
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.writing
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let (home, room) = (self.home.clone(), self.room.take());
        tokio::spawn(async move {
            if connection.ping().await.is_ok() {
                home.keep(connection);
            }
            drop(room);
        });
    }
}

impl Drop for Transaction {
    /// Sent with the ping, before anybody else has the connection.
    fn drop(&mut self) {
        if let Some(connection) = &mut self.writing.connection {
            PgTransactionManager::start_rollback(connection);
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::throwaway;
    use std::collections::HashSet;
    use tokio::task::JoinSet;

    async fn backend(connection: &mut PgConnection) -> i32 {
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await.unwrap()
    }

    async fn transact(transactions: &Transactions, statement: &'static str) -> i32 {
        let mut tx = transactions.begin().await.unwrap();
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
        let pid = backend(&mut tx).await;
        tx.commit().await.unwrap();
        pid
    }

    /// As a server does that goes.
    async fn end(pool: &PgPool, backend: i32) {
        let ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1, 5000)")
            .bind(backend)
            .fetch_one(pool)
            .await
            .unwrap();
        assert!(ended);
    }

    #[tokio::test]
    async fn a_connection_is_kept_until_it_is_lost() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        let first = transact(&transactions, "CREATE TABLE notes (id INTEGER)").await;
        assert_eq!(transact(&transactions, "INSERT INTO notes VALUES (1)").await, first);
        end(&pool, first).await;
        let next = transact(&transactions, "INSERT INTO notes VALUES (2)").await;
        assert_ne!(next, first);
        assert_eq!(transact(&transactions, "INSERT INTO notes VALUES (3)").await, next);
    }

    #[tokio::test]
    async fn only_what_is_written_is_planned_for_good() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        transact(&transactions, "CREATE TABLE notes (id INTEGER PRIMARY KEY)").await;
        let mut tx = transactions.begin().await.unwrap();
        for count in 1..10 {
            let ids: Vec<i32> = (0..count).collect();
            sqlx::query("DELETE FROM notes WHERE id = ANY($1)")
                .bind(ids)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        let planned_anew: i64 = sqlx::query_scalar(
            "SELECT custom_plans FROM pg_prepared_statements WHERE statement LIKE 'DELETE%'",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        assert_eq!(planned_anew, 0);
        tx.commit().await.unwrap();
        // Nor do those who read ever get a connection of those who write.
        drop(transactions);
        for _ in 0..pool.options().get_max_connections() {
            let mode: String =
                sqlx::query_scalar("SHOW plan_cache_mode").fetch_one(&pool).await.unwrap();
            assert_eq!(mode, "auto");
        }
    }

    #[tokio::test]
    async fn a_statement_finds_a_server_that_came_back() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        let mut writing = transactions.statement().await.unwrap();
        let first = backend(&mut writing).await;
        writing.keep();
        let mut writing = transactions.statement().await.unwrap();
        assert_eq!(backend(&mut writing).await, first);
        writing.keep();
        end(&pool, first).await;
        transactions.kept()[0].since -= SURELY_THERE;
        let mut writing = transactions.statement().await.unwrap();
        assert_ne!(backend(&mut writing).await, first);
    }

    #[tokio::test]
    async fn a_connection_that_was_left_in_the_middle_is_kept_when_it_has_come_to_an_end() {
        let transactions = Transactions::new(throwaway().await);
        let mut writing = transactions.statement().await.unwrap();
        let first = backend(&mut writing).await;
        let sleep = sqlx::query("SELECT pg_sleep(0.2)").execute(&mut *writing);
        assert!(timeout(SURELY_THERE, sleep).await.is_err());
        drop(writing);
        while transactions.kept().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut writing = transactions.statement().await.unwrap();
        assert_eq!(backend(&mut writing).await, first);
    }

    #[tokio::test]
    async fn what_is_dropped_never_happened() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        transact(&transactions, "CREATE TABLE notes (id INTEGER)").await;
        let mut dropped = transactions.begin().await.unwrap();
        sqlx::query("INSERT INTO notes VALUES (1)").execute(&mut *dropped).await.unwrap();
        drop(dropped);
        // Waits for whoever still has a lock on the table.
        transact(&transactions, "LOCK TABLE notes").await;
        let found: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(&pool).await.unwrap();
        assert_eq!(found, 0);
    }

    #[tokio::test]
    async fn half_of_the_connections_are_for_those_who_read() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        let half = pool.options().get_max_connections() / 2;
        // Many more than there is room for: each waits its turn, and finds what the last one had.
        let mut writers = JoinSet::new();
        for _ in 0..half * 20 {
            let transactions = transactions.clone();
            writers.spawn(async move { transact(&transactions, "SELECT 1").await });
        }
        let backends: HashSet<i32> = writers.join_all().await.into_iter().collect();
        assert_eq!(backends.len(), half as usize);
        let mut readers = Vec::new();
        for _ in 0..half {
            readers.push(pool.acquire().await.unwrap());
        }
    }
}
