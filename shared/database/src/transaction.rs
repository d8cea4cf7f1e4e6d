//! A write transaction, with statements that are deferred to its end.

use crate::{
    PgConnection,
    statement_batch::{StatementBatch, Written},
};
use sqlx::Error;
use std::ops::{Deref, DerefMut};

/// Dropped without `commit`, it never happened.
pub struct Transaction {
    connection: PgConnection,
    last: StatementBatch,
}

impl Transaction {
    /// On a connection on which it has begun.
    pub(crate) fn new(connection: PgConnection) -> Self {
        Self { connection, last: StatementBatch::default() }
    }

    /// Defers the statement to the end, together with other deferred ones.
    pub fn defer(&mut self, statement: &str) -> Written<'_> {
        self.last.add(statement)
    }

    /// Runs the deferred statements now.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.last.execute(&mut self.connection).await
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        self.finish().await?;
        self.connection.commit().await
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.connection.start_rollback();
    }
}
