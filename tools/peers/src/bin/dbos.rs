//! Runs the saga as one DBOS workflow per order: a library in this process keeps each step's
//! result in order's Postgres, and repeats those without one after a crash.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use dbos::{Config, DBOS, StartOptions, WorkflowRef, step};
use peers::{Databases, Order, charge, database, finish, place, refund, reserve, setting, ship};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

type Saga = WorkflowRef<Order, ()>;

/// A database that is away for a moment is not the step's result.
async fn durably<T, F>(name: &str, statement: impl Fn() -> F + Send + Sync) -> dbos::Result<T>
where
    T: Serialize + DeserializeOwned + Send,
    F: Future<Output = sqlx::Result<T>> + Send,
{
    let body = || async {
        loop {
            match statement().await {
                Ok(done) => return dbos::Result::Ok(done),
                Err(error) => eprintln!("{name}: {error}"),
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    step(name, body).await
}

async fn saga(db: Arc<Databases>, order: Order) -> dbos::Result<()> {
    let (db, order) = (&db, &order);
    durably("place", || place(&db.order, order)).await?;
    let status = if !durably("charge", || charge(&db.payment, order)).await? {
        "PAYMENT_FAILED"
    } else if durably("reserve", || reserve(&db.inventory, order)).await? {
        durably("ship", || ship(&db.shipping, order)).await?;
        "CONFIRMED"
    } else {
        durably("refund", || refund(&db.payment, order)).await?;
        "CANCELLED"
    };
    durably("finish", || finish(&db.order, order, status)).await
}

/// The workflow is recorded before the answer, and places the order itself.
async fn take(State(saga): State<Saga>, Json(order): Json<Order>) -> Result<StatusCode, String> {
    let id = order.order_id.to_string();
    let options = StartOptions { workflow_id: Some(&id), ..StartOptions::default() };
    let started = saga.start_with(order, options).await;
    started.map(|_| StatusCode::ACCEPTED).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let db = Arc::new(Databases::open().await?);
    let config = Config {
        app_version: Some("1".into()),
        max_connections: 32,
        ..Config::new("peers", setting(&database("order")))
    };
    let dbos = DBOS::new(config);
    let saga = dbos.register_workflow("saga", move |order| saga(Arc::clone(&db), order))?;
    dbos.launch().await?;
    let listener = tokio::net::TcpListener::bind(setting("LISTEN")).await?;
    Ok(axum::serve(listener, Router::new().route("/orders", post(take)).with_state(saga)).await?)
}
