//! Stores API keys as digests.

use crate::keys::{ApiKey, Role};
use database::{Failure, PgPool};
use sqlx::{Executor, Postgres};

database::row! {
    /// A key that is not revoked.
    pub struct KeyRow {
        pub id: String,
        pub client: String,
        pub role: String,
        pub digest: Vec<u8>,
    }
}

database::row! {
    /// A key as it is listed.
    #[derive(Clone, Debug, serde::Serialize)]
    pub struct ListedKey {
        pub id: String,
        pub client: String,
        pub role: String,
        pub created_at: chrono::DateTime<chrono::Utc>,
        pub revoked_at: Option<chrono::DateTime<chrono::Utc>>,
    }
}

/// The oldest first.
pub async fn valid_keys(pool: &PgPool) -> Result<Vec<KeyRow>, Failure> {
    let rows = sqlx::query_as(
        "SELECT id, client, role, digest
         FROM api_keys
         WHERE revoked_at IS NULL
         ORDER BY created_at, id",
    );
    Ok(rows.fetch_all(pool).await?)
}

pub async fn list_keys<'c>(
    database: impl Executor<'c, Database = Postgres>,
) -> sqlx::Result<Vec<ListedKey>> {
    let rows = sqlx::query_as(
        "SELECT id, client, role, created_at, revoked_at
         FROM api_keys
         ORDER BY created_at, id",
    );
    rows.fetch_all(database).await
}

/// Does nothing where it is there already.
pub async fn create_key<'c>(
    database: impl Executor<'c, Database = Postgres>,
    key: &ApiKey,
    client: &str,
    role: Role,
) -> sqlx::Result<()> {
    let inserting = sqlx::query(
        "INSERT INTO api_keys (id, client, role, digest)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO NOTHING",
    );
    let inserting = inserting.bind(key.id()).bind(client).bind(role.name());
    inserting.bind(key.digest().as_slice()).execute(database).await.map(drop)
}

/// False if there is no such key that is valid.
pub async fn revoke_key<'c>(
    database: impl Executor<'c, Database = Postgres>,
    id: &str,
) -> sqlx::Result<bool> {
    let revoking =
        sqlx::query("UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL");
    Ok(revoking.bind(id).execute(database).await?.rows_affected() > 0)
}

/// The client and the role of this key, if it is valid.
pub async fn holder_of<'c>(
    database: impl Executor<'c, Database = Postgres>,
    key: &ApiKey,
) -> sqlx::Result<Option<(String, String)>> {
    let holder = sqlx::query_as(
        "SELECT client, role FROM api_keys WHERE id = $1 AND digest = $2 AND revoked_at IS NULL",
    );
    holder.bind(key.id()).bind(key.digest().as_slice()).fetch_optional(database).await
}
