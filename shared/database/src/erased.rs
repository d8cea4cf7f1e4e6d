//! Erases the types of sqlx's work, so that it is compiled in this crate alone: a generic function,
//! and the body of an `async fn`, are compiled again in every crate that calls them.

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use sqlx::{
    Connection, Either, Error, Execute, Executor, Postgres, SqlStr,
    error::BoxDynError,
    postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

pub type Done<'a, T> = BoxFuture<'a, Result<T, Error>>;
pub type Steps<'a> = BoxStream<'a, Result<Either<PgQueryResult, PgRow>, Error>>;
pub type Rows<'a> = BoxStream<'a, Result<PgRow, Error>>;

/// A statement with its values, whatever it was built from.
pub struct ErasedStatement {
    sql: SqlStr,
    arguments: Result<Option<PgArguments>, BoxDynError>,
    is_persistent: bool,
}

impl ErasedStatement {
    pub fn of<'q>(mut query: impl Execute<'q, Postgres>) -> Self {
        let arguments = query.take_arguments();
        Self { arguments, is_persistent: query.persistent(), sql: query.sql() }
    }
}

impl Execute<'_, Postgres> for ErasedStatement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.is_persistent
    }
}

pub fn connect(options: &PgConnectOptions) -> Done<'_, sqlx::PgConnection> {
    sqlx::PgConnection::connect_with(options).boxed()
}

pub fn ping(raw: &mut sqlx::PgConnection) -> Done<'_, ()> {
    raw.ping().boxed()
}

pub fn fetch_many(raw: &mut sqlx::PgConnection, statement: ErasedStatement) -> Steps<'_> {
    raw.fetch_many(statement)
}

pub fn fetch_optional(
    raw: &mut sqlx::PgConnection,
    statement: ErasedStatement,
) -> Done<'_, Option<PgRow>> {
    raw.fetch_optional(statement)
}

pub fn prepare<'a>(
    raw: &'a mut sqlx::PgConnection,
    sql: SqlStr,
    parameters: &'a [PgTypeInfo],
) -> Done<'a, PgStatement> {
    raw.prepare_with(sql, parameters)
}

/// The rows among the steps.
pub fn rows(steps: Steps<'_>) -> Rows<'_> {
    steps.try_filter_map(async |step| Ok(step.right())).boxed()
}

/// The number of rows that the steps have changed.
pub fn done(steps: Steps<'_>) -> Done<'_, PgQueryResult> {
    steps.try_filter_map(async |step| Ok(step.left())).try_collect().boxed()
}

pub fn all(rows: Rows<'_>) -> Done<'_, Vec<PgRow>> {
    rows.try_collect().boxed()
}

/// Implements sqlx's `Executor` by a type's `steps`, `row` and `prepared`.
macro_rules! executor {
    ($lifetime:lifetime, $of:ty) => {
        impl<$lifetime> Executor<$lifetime> for $of {
            type Database = Postgres;

            fn execute<'e, 'q: 'e, E>(self, query: E) -> Done<'e, PgQueryResult>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::done(self.steps(ErasedStatement::of(query)))
            }

            fn fetch<'e, 'q: 'e, E>(self, query: E) -> Rows<'e>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::rows(self.steps(ErasedStatement::of(query)))
            }

            fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> Done<'e, Vec<PgRow>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                erased::all(erased::rows(self.steps(ErasedStatement::of(query))))
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Steps<'e>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.steps(ErasedStatement::of(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Done<'e, Option<PgRow>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.row(ErasedStatement::of(query))
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

pub(crate) use executor;
