//! A transaction: what is written in it, and what is done last.

use crate::{
    PgConnection,
    together::{Together, Written},
};
use sqlx::Error;
use std::ops::{Deref, DerefMut};

/// Dropped without `commit`, it never happened.
pub struct Transaction {
    connection: PgConnection,
    last: Together,
}

impl Transaction {
    /// On a connection on which it has begun.
    pub(crate) fn new(connection: PgConnection) -> Self {
        Self { connection, last: Together::default() }
    }

    /// Does this last, together with whatever else is done last.
    pub fn finally(&mut self, statement: &str) -> Written<'_> {
        self.last.add(statement)
    }

    /// Does now what is done last.
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
