//! Transactions, on connections that are kept from one to the next: sqlx's pool asks a connection
//! that comes back whether it still lives, which would be a round trip more for each of them.

use sqlx::{
    Error, PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::PgTransactionManager,
};
use sqlx_core::{sql_str::SqlSafeStr, transaction::TransactionManager};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Statements of a transaction go by keys, so that one plan does for all. Postgres would plan most
/// of them anew for each array, which takes longer than to do what they say to a few rows. Whoever
/// reads goes by values of which there are few or many, and has a plan for each.
const BEGIN: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan";
/// The rest of the pool is for those who only read.
const KEPT_MAX: usize = 4;

#[derive(Clone)]
pub struct Transactions {
    pool: PgPool,
    kept: Arc<Mutex<Vec<PoolConnection<Postgres>>>>,
    kept_max: usize,
}

/// Dropped without `commit`, it never happened.
pub struct Transaction {
    /// Until it ends.
    connection: Option<PoolConnection<Postgres>>,
    home: Transactions,
}

impl Transactions {
    pub fn new(pool: PgPool) -> Self {
        let half = pool.options().get_max_connections() / 2;
        let kept_max = KEPT_MAX.min(half.try_into().unwrap_or(KEPT_MAX));
        Self { pool, kept: Arc::default(), kept_max }
    }

    pub async fn begin(&self) -> Result<Transaction, Error> {
        while !self.pool.is_closed()
            && let Some(kept) = self.take()
        {
            // Its server may have gone since: then so have those of the others.
            if let Ok(begun) = self.begin_on(kept).await {
                return Ok(begun);
            }
        }
        self.begin_on(self.pool.acquire().await?).await
    }

    async fn begin_on(&self, connection: PoolConnection<Postgres>) -> Result<Transaction, Error> {
        let mut begun = Transaction { connection: Some(connection), home: self.clone() };
        PgTransactionManager::begin(&mut begun, Some(BEGIN.into_sql_str())).await?;
        Ok(begun)
    }

    fn take(&self) -> Option<PoolConnection<Postgres>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: PoolConnection<Postgres>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.kept_max {
            kept.push(connection);
        }
    }
}

impl Transaction {
    pub async fn commit(mut self) -> Result<(), Error> {
        PgTransactionManager::commit(&mut self).await?;
        if let Some(connection) = self.connection.take() {
            self.home.keep(connection);
        }
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("only its end takes it")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("only its end takes it")
    }
}

impl Drop for Transaction {
    /// The pool sends the rollback before anybody else has the connection.
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            PgTransactionManager::start_rollback(connection);
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::throwaway;

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

    #[tokio::test]
    async fn a_connection_is_kept_until_it_is_lost() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        let first = transact(&transactions, "CREATE TABLE notes (id INTEGER)").await;
        assert_eq!(transact(&transactions, "INSERT INTO notes VALUES (1)").await, first);
        let killed: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1, 5000)")
            .bind(first)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(killed);
        let next = transact(&transactions, "INSERT INTO notes VALUES (2)").await;
        assert_ne!(next, first);
        assert_eq!(transact(&transactions, "INSERT INTO notes VALUES (3)").await, next);
    }

    #[tokio::test]
    async fn only_what_is_done_in_a_transaction_is_planned_for_good() {
        let transactions = Transactions::new(throwaway().await);
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
        let mut kept = transactions.take().unwrap();
        let mode: String =
            sqlx::query_scalar("SHOW plan_cache_mode").fetch_one(&mut *kept).await.unwrap();
        assert_eq!(mode, "auto");
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
    async fn readers_are_left_connections() {
        let pool = throwaway().await;
        let transactions = Transactions::new(pool.clone());
        let max = pool.options().get_max_connections() as usize;
        let mut open = Vec::new();
        for _ in 0..max {
            open.push(transactions.begin().await.unwrap());
        }
        for tx in open {
            tx.commit().await.unwrap();
        }
        let mut readers = Vec::new();
        for _ in 0..max - KEPT_MAX {
            readers.push(pool.acquire().await.unwrap());
        }
    }
}
