//! Runs refinery's migrations over an sqlx connection.

use crate::{Backoff, PgPool, failure::is_locked, limits::late};
use anyhow::Context;
use futures::{FutureExt, future::BoxFuture};
use refinery_core::{
    Migration, Report, Target,
    error::WrapMigrationError,
    traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, postgres::PgRow};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::{Instant, sleep, timeout};

/// Any number that is the same in all replicas: refinery itself takes no lock.
const LOCK: i64 = 0x5155_4144_5249_4c4c;
/// Large tables take long.
const MIGRATION_MAX: Duration = Duration::from_mins(10);
/// For each lock of a migration, at each try: others wait behind it for so long.
const LOCK_MAX: &str = "500ms";
/// Between two tries of a migration, others get their locks.
const LET_OTHERS: Backoff =
    Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(5) };
/// For queries only.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const TURN_EVERY: Duration = Duration::from_millis(100);

/// Brings the schema up to date. `history` is the table that remembers what has been applied.
/// Replicas that boot together take turns. A newer release may have been here before, since
/// migrations only add: its schema serves this one too.
pub fn migrate<'a>(
    pool: &'a PgPool,
    history: &'a str,
    migrations: &'a [Migration],
) -> BoxFuture<'a, anyhow::Result<()>> {
    apply(pool, history, migrations).boxed()
}

async fn apply(pool: &PgPool, history: &str, migrations: &[Migration]) -> anyhow::Result<()> {
    // A connection of its own, closed afterwards: closing it gives the lock back, come what may.
    let options = pool.options().await?.options([
        ("lock_timeout", LOCK_MAX),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
    ]);
    let limits = pool.limits();
    let connected = PgConnection::connect_with(&options);
    let mut connection = in_time("a connection", limits.login(), connected).await?;
    end_if_abandoned(&mut connection).await?;
    let turn = wait_for_turn(&mut connection);
    in_time("another replica's migration", MIGRATION_MAX, turn).await?;
    let report = Migrator(&mut connection).bring_up_to_date(history, migrations).await;
    in_time("a goodbye", limits.ping(), connection.close()).await?;
    let report = report.with_context(|| format!("cannot apply the migrations of {history}"))?;
    for migration in report.applied_migrations() {
        tracing::info!(%migration, "schema migrated");
    }
    Ok(())
}

/// Postgres would end a long statement first, and its locks, though its client has died. Since
/// Postgres 14, and not on every system.
async fn end_if_abandoned(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let looks = "SELECT set_config(name, '1s', FALSE) FROM pg_settings
        WHERE name = 'client_connection_check_interval'";
    match in_time("a statement", ANSWER_MAX, connection.execute(looks)).await {
        Err(sqlx::Error::Database(why)) => {
            tracing::debug!("the server does not look whether its clients live: {why}");
            Ok(())
        }
        looking => looking.map(drop),
    }
}

/// Polls: a wait for the lock itself would not detect a dead server.
async fn wait_for_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    loop {
        let asked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
        if in_time("a statement", ANSWER_MAX, asked.fetch_one(&mut *connection)).await? {
            return Ok(());
        }
        sleep(TURN_EVERY).await;
    }
}

async fn in_time<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(late(what, limit)))
}

struct Migrator<'a>(&'a mut PgConnection);

impl Migrator<'_> {
    async fn bring_up_to_date(
        &mut self,
        history: &str,
        migrations: &[Migration],
    ) -> Result<Report, refinery_core::Error> {
        let last = migrations.iter().map(Migration::version).max();
        let mut newer = self.applied(history).await?;
        newer.retain(|migration| Some(migration.version()) > last);
        for migration in &newer {
            tracing::warn!(%migration, history, "the schema is newer than this release, and \
                compatible");
        }
        // To refinery they are ours, so that it still refuses any other difference.
        let known = [migrations, &newer].concat();
        self.migrate(&known, true, true, false, Target::Latest, history).await
    }

    async fn applied(&mut self, history: &str) -> Result<Vec<Migration>, refinery_core::Error> {
        let is_there = format!("SELECT to_regclass('{history}') IS NOT NULL");
        let asked = sqlx::query_scalar(AssertSqlSafe(is_there)).fetch_one(&mut *self.0);
        let is_there: bool = in_time("a statement", ANSWER_MAX, asked)
            .await
            .migration_err("cannot look for the schema's history", None)?;
        if is_there { self.get_applied_migrations(history).await } else { Ok(Vec::new()) }
    }

    async fn transact(&mut self, queries: &[&str]) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        for query in queries {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(*query))).await?;
        }
        transaction.commit().await
    }
}

impl AsyncTransaction for Migrator<'_> {
    type Error = sqlx::Error;

    /// A migration waits for a lock in short tries: each statement on its table meanwhile waits
    /// behind it.
    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let (queries, until) = (queries.collect::<Vec<_>>(), Instant::now() + MIGRATION_MAX);
        let mut tries = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let done = in_time("a migration", left, self.transact(&queries)).await;
            let pause = LET_OTHERS.after(tries);
            match done {
                Err(why) if is_locked(&why) && Instant::now() + pause < until => {
                    tracing::warn!("a migration waits for a lock, and lets others go on: {why}");
                }
                done => return done.map(|()| queries.len()),
            }
            sleep(pause).await;
            tries += 1;
        }
    }
}

impl AsyncQuery<Vec<Migration>> for Migrator<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let asked = self.0.fetch_all(AssertSqlSafe(query));
        let rows = in_time("a statement", ANSWER_MAX, asked).await?;
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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::{
        Limits, hopeless,
        testing::{throwaway, throwaway_url},
    };
    use std::pin::pin;

    type Release = [(&'static str, &'static str)];

    const HISTORY: &str = "history";
    const NOTES: (&str, &str) = ("V1__notes", "CREATE TABLE notes (id INTEGER)");
    const TEXT: (&str, &str) = ("V2__text", "ALTER TABLE notes ADD COLUMN text TEXT");
    const TAGS: (&str, &str) = ("V3__tags", "CREATE TABLE tags (id INTEGER)");

    async fn deploy(pool: &PgPool, release: &Release) -> anyhow::Result<()> {
        let migrations = release.iter().map(|(name, sql)| Migration::unapplied(name, sql).unwrap());
        migrate(pool, HISTORY, &migrations.collect::<Vec<_>>()).await
    }

    async fn versions(pool: &PgPool) -> Vec<i32> {
        let versions = "SELECT version FROM history ORDER BY version";
        sqlx::query_scalar(versions).fetch_all(pool).await.unwrap()
    }

    #[tokio::test]
    async fn an_older_release_starts_on_the_schema_of_a_newer_one_and_leaves_it_as_it_is() {
        let pool = throwaway().await;
        deploy(&pool, &[NOTES]).await.unwrap();
        deploy(&pool, &[NOTES, TEXT, TAGS]).await.unwrap();
        for release in [&[NOTES][..], &[NOTES, TEXT]] {
            deploy(&pool, release).await.unwrap();
            assert_eq!(versions(&pool).await, [1, 2, 3]);
        }
        deploy(&pool, &[NOTES, TEXT, TAGS]).await.unwrap();
    }

    async fn count(pool: &PgPool, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_migration_that_waits_for_its_lock_lets_others_read_meanwhile() {
        let url = throwaway_url().await;
        let pool = || PgPool::new(&url, "test", 10, Limits::DEFAULT).unwrap();
        let (pool, service) = (pool(), pool());
        deploy(&pool, &[NOTES]).await.unwrap();
        let reader = pool.begin().await.unwrap();
        reader.query("SELECT FROM notes").done().await.unwrap();
        let mut deployed = pin!(deploy(&pool, &[NOTES, TEXT]));
        let reads = async {
            let waits = "SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'
                    AND datname = current_database()";
            for _ in 0..3 {
                while count(&service, waits).await == 0 {}
                // Postgres gives the reader its lock after the migration, which waits before it.
                sqlx::query("SELECT FROM notes").execute(&service).await.unwrap();
            }
        };
        tokio::select! {
            early = &mut deployed => panic!("the table is read: {early:?}"),
            () = reads => {}
        }
        drop(reader);
        deployed.await.unwrap();
        assert_eq!(versions(&pool).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_migration_whose_process_dies_ends_soon() {
        let pool = throwaway().await;
        let release = [("V1__long", "SELECT pg_sleep(600)")];
        let at_work = "SELECT count(*) FROM pg_stat_activity
            WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()";
        tokio::select! {
            early = deploy(&pool, &release) => panic!("it takes long: {early:?}"),
            () = async { while count(&pool, at_work).await == 0 {} } => {}
        }
        let ended = async { while count(&pool, at_work).await > 0 {} };
        timeout(pool.limits().statement(), ended).await.expect("its backend has ended");
        deploy(&pool, &[NOTES]).await.unwrap();
    }

    #[tokio::test]
    async fn a_schema_that_is_not_this_releases_past_is_refused_for_good() {
        let other = ("V2__text", "ALTER TABLE notes ADD COLUMN words TEXT");
        let cases: [(&Release, &Release, &str); 3] = [
            (&[NOTES, other], &[NOTES, TEXT], "V2__text"),
            // One that was left out, on either side.
            (&[NOTES, TEXT, TAGS], &[NOTES, TAGS], "V2__text"),
            (&[NOTES, TAGS], &[NOTES, TEXT, TAGS], "V2__text"),
        ];
        for (there, ours, named) in cases {
            let pool = throwaway().await;
            deploy(&pool, there).await.unwrap();
            let before = versions(&pool).await;
            let why = deploy(&pool, ours).await.unwrap_err();
            assert!(format!("{why:#}").contains(named), "{why:#}");
            assert!(hopeless(&why).unwrap().contains("another release"), "{why:#}");
            assert_eq!(versions(&pool).await, before);
        }
    }
}
