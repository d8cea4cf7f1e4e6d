//! Makes a database fail as a bug would.

use sqlx::PgPool;

/// Makes the database refuse some rows.
pub async fn refuse(pool: &PgPool, table: &str, check: &str) {
    let sql = format!("ALTER TABLE {table} ADD CONSTRAINT fault CHECK ({check}) NOT VALID");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("the table is there");
}

pub async fn mend(pool: &PgPool, table: &str) {
    let sql = format!("ALTER TABLE {table} DROP CONSTRAINT fault");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("it was refused before");
}
