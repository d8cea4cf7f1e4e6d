//! refinery's migrations over an sqlx connection.

use anyhow::Context;
use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row, postgres::PgRow};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Any number that is the same in all replicas: refinery itself takes no lock.
const LOCK: i64 = 0x5155_4144_5249_4c4c;

/// Brings the schema up to date. `history` is the table that remembers what has been applied.
/// Replicas that boot together take turns.
pub async fn migrate(pool: &PgPool, history: &str, migrations: &[Migration]) -> anyhow::Result<()> {
    // A connection of its own, closed afterwards: closing it gives the lock back, come what may.
    let options = (*pool.connect_options()).clone().options([
        ("lock_timeout", "0"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
    ]);
    let mut connection = PgConnection::connect_with(&options).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    let report = Migrator(&mut connection)
        .migrate(migrations, true, true, false, refinery_core::Target::Latest, history)
        .await
        .with_context(|| format!("cannot apply the migrations of {history}"));
    connection.close().await?;
    for migration in report?.applied_migrations() {
        tracing::info!(%migration, "schema migrated");
    }
    Ok(())
}

struct Migrator<'a>(&'a mut PgConnection);

impl AsyncTransaction for Migrator<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(query))).await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Migrator<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = self.0.fetch_all(AssertSqlSafe(query)).await?;
        rows.iter().map(applied).collect()
    }
}

impl AsyncMigrate for Migrator<'_> {}

fn applied(row: &PgRow) -> Result<Migration, sqlx::Error> {
    let unreadable = |why: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(why);
    let (version, name, on, checksum): (i32, String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let on = OffsetDateTime::parse(&on, &Rfc3339).map_err(|why| unreadable(why.into()))?;
    let checksum =
        checksum.parse().map_err(|why: std::num::ParseIntError| unreadable(why.into()))?;
    Ok(Migration::applied(version, name, on, checksum))
}
