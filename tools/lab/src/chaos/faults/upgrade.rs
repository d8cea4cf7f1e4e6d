//! Simulates the next release beside this one: a service's database gets the next schema while its
//! copies run, they restart on it, and its events get fields that are not known yet.

use std::time::Duration;

use anyhow::{Context, Result};
use kit::output::some;
use kit::settings::SERVICES;
use messaging::{Env, SystemEnv};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::sleep;

use super::{Hands, ms};
use crate::chaos::fault::REPLICAS;
use crate::chaos::plan::Step;
use crate::chaos::proxy::Weather;
use crate::chaos::watch::{Measure, Since};

/// The service's own migration history, and the shared one, each with a table that the next release
/// extends.
const HISTORIES: [(&str, &str); 2] =
    [("schema_history", ""), ("messaging_schema_history", "outbox")];
const TABLES: [&str; SERVICES.len()] = ["orders", "payments", "products", "shipments"];
/// Data in flight when the broker's link goes silent has arrived by then.
const IN_FLIGHT: Duration = Duration::from_millis(200);

impl Hands<'_> {
    pub(super) async fn upgrade(&mut self, place: usize, step: &Step) -> Result<String> {
        let service = SERVICES[place];
        let url = self.fleet.system.endpoints.databases[service].clone();
        let mut database = PgConnection::connect(&url).await?;
        migrate(&mut database, TABLES[place]).await.context("cannot migrate")?;
        // Events that are written now wait in the outbox, and have not been published.
        self.fleet.link(super::Target::Broker)?.set(Weather::Silent);
        sleep(IN_FLIGHT).await;
        let since = SystemEnv.now();
        sleep(step.lasts).await;
        let copies = [place, place + SERVICES.len()];
        for copy in copies {
            self.fleet.system.replicas[copy].kill().await?;
        }
        let number = say_more(&mut database, since).await.context("cannot extend the events")?;
        self.fleet.link(super::Target::Broker)?.set(Weather::Clear);
        Since::now().consumers(&self.fleet.system.endpoints, service, 0).await?;
        let since = Since::now();
        for copy in copies {
            self.fleet.system.replicas[copy].start()?;
        }
        let took = since.consumers(&self.fleet.system.endpoints, service, REPLICAS).await?;
        self.recovered(Measure::Consuming, took);
        self.flows(Since::now(), &[place], Measure::Flows).await?;
        let said = some(number, "event");
        Ok(format!("on the next schema, {said} extended in {}", ms(step.lasts)))
    }
}

/// Migrates as the next release would: it only adds.
async fn migrate(database: &mut PgConnection, own: &str) -> Result<()> {
    let mut transaction = database.begin().await?;
    sqlx::query("SET LOCAL lock_timeout = '10s'").execute(&mut *transaction).await?;
    for (history, shared) in HISTORIES {
        let table = if shared.is_empty() { own } else { shared };
        let version: i32 =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT max(version) + 1 FROM {history}")))
                .fetch_one(&mut *transaction)
                .await?;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "ALTER TABLE {table} ADD COLUMN next_{version} TEXT NOT NULL DEFAULT 'new';
             CREATE TABLE {history}_next_{version} (id BIGINT PRIMARY KEY)"
        )))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO {history} (version, name, applied_on, checksum)
             VALUES ($1, 'next', $2, '4711')"
        )))
        .bind(version)
        .bind(SystemEnv.now().to_rfc3339())
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await.map_err(Into::into)
}

/// Adds fields that this release does not know to the events written to the outbox since then.
async fn say_more(
    database: &mut PgConnection,
    since: chrono::DateTime<chrono::Utc>,
) -> Result<usize> {
    let rows: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("SELECT event_id, body FROM outbox").fetch_all(&mut *database).await?;
    let is_new = |id: uuid::Uuid| events::said_at(id).is_some_and(|at| at > since);
    let mut number = 0;
    for (id, body) in rows.into_iter().filter(|(id, _)| is_new(*id)) {
        sqlx::query("UPDATE outbox SET body = $2 WHERE event_id = $1")
            .bind(id)
            .bind(extended(&body)?)
            .execute(&mut *database)
            .await?;
        number += 1;
    }
    Ok(number)
}

fn extended(body: &str) -> Result<String> {
    let mut body: Value = serde_json::from_str(body).context("an event is JSON")?;
    let fields = body.as_object_mut().context("an event is an object")?;
    fields.insert("next_release".into(), json!({ "notes": ["new", null], "weight": 1.5 }));
    Ok(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_more_and_nothing_else() {
        let text = extended(r#"{"amount":49.90}"#).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        assert!(text.contains("49.90") && told["next_release"]["notes"][0] == "new", "{text}");
    }
}
