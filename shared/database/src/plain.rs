//! Connects without a pool.

use crate::erased::{self, Done, ErasedStatement, Rows, Steps};
use futures::{FutureExt, TryFutureExt};
use sqlx::{
    Execute, Executor, Postgres, SqlStr,
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

/// A connection as sqlx makes it, without pool and deadlines: for tools.
#[derive(Debug)]
pub struct PlainConnection(sqlx::PgConnection);

impl PlainConnection {
    pub fn connect(options: &PgConnectOptions) -> Done<'_, Self> {
        erased::connect(options).map_ok(Self).boxed()
    }

    fn steps(&mut self, statement: ErasedStatement) -> Steps<'_> {
        erased::fetch_many(&mut self.0, statement)
    }

    fn row(&mut self, statement: ErasedStatement) -> Done<'_, Option<PgRow>> {
        erased::fetch_optional(&mut self.0, statement)
    }

    fn prepared<'a>(
        &'a mut self,
        sql: SqlStr,
        parameters: &'a [PgTypeInfo],
    ) -> Done<'a, PgStatement> {
        erased::prepare(&mut self.0, sql, parameters)
    }
}

erased::executor!('c, &'c mut PlainConnection);
