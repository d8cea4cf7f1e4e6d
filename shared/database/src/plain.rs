//! Connects without a pool.

use crate::{
    erased::{self, Done, ErasedStatement, Rows, Steps},
    hosts::Host,
};
use futures::FutureExt;
use sqlx::{
    Execute, Executor, Postgres, SqlStr,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

/// A connection as sqlx makes it, without pool and deadlines: for tools.
#[derive(Debug)]
pub struct PlainConnection(sqlx::PgConnection);

impl PlainConnection {
    /// To the one host of this URL.
    pub fn open(url: &str) -> Done<'static, Self> {
        let host = Host::only(url);
        async move {
            let host = host?;
            let raw = erased::connect(&host.options).await;
            raw.map(Self).map_err(|why| host.explained(why))
        }
        .boxed()
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
