//! Connects without a pool.

use crate::{
    erased::{self, Done, ErasedStatement, Rows, Steps},
    hosts::Host,
    limits::late,
};
use futures::{FutureExt, StreamExt, stream::unfold};
use sqlx::{
    Execute, Executor, Postgres, SqlStr,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use std::time::Duration;
use tokio::time::timeout;

/// TLS and a login on a starved machine take less.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// A tool's statement over ten million orders may take long; a frozen server takes for ever.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// A connection as sqlx makes it, without a pool: for tools.
#[derive(Debug)]
pub struct PlainConnection(sqlx::PgConnection);

impl PlainConnection {
    /// To the one host of this URL.
    pub fn open(url: &str) -> Done<'static, Self> {
        let host = Host::only(url);
        async move {
            let host = host?;
            let raw = timeout(LOGIN_MAX, erased::connect(&host.options)).await;
            let raw = raw.unwrap_or_else(|_| Err(late("a login", LOGIN_MAX)));
            raw.map(Self).map_err(|why| host.explained(why))
        }
        .boxed()
    }

    fn steps(&mut self, statement: ErasedStatement) -> Steps<'_> {
        let steps = erased::fetch_many(&mut self.0, statement);
        unfold(steps, |mut steps| async move {
            let step = timeout(SILENCE_MAX, steps.next()).await;
            Some((step.unwrap_or_else(|_| Some(Err(late("a row", SILENCE_MAX))))?, steps))
        })
        .boxed()
    }

    fn row(&mut self, statement: ErasedStatement) -> Done<'_, Option<PgRow>> {
        let row = timeout(SILENCE_MAX, erased::fetch_optional(&mut self.0, statement));
        row.map(|row| row.unwrap_or_else(|_| Err(late("a row", SILENCE_MAX)))).boxed()
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
