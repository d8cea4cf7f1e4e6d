//! Runs one of the four services as a team writes it by hand on lapin and sqlx: a transaction a
//! message with an inbox and an outbox, publisher confirms, quorum queues. `naive <service>`

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use peers::{Order, charge, finish, open, place, refund, reserve, setting, ship};
use sqlx::{PgConnection, PgPool, query, query_as};
use uuid::Uuid;

/// Messages that a service handles at once.
const PREFETCH: u16 = 32;
const EXCHANGE: &str = "peers";
const RELAY_EVERY: Duration = Duration::from_millis(200);

const CONSUMES: [(&str, &[&str]); 4] = [
    ("order", &["shipping.scheduled", "payment.failed", "payment.refunded"]),
    ("payment", &["order.created", "inventory.failed"]),
    ("inventory", &["payment.approved"]),
    ("shipping", &["inventory.reserved"]),
];

const BOXES: &str = "
    CREATE TABLE IF NOT EXISTS inbox (message_id UUID PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS outbox (
        id         UUID PRIMARY KEY,
        event      TEXT NOT NULL,
        body       BYTEA NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
    )";

type Row = (Uuid, String, Vec<u8>);

struct Service {
    db: PgPool,
    channel: Channel,
    /// Outbox rows to delete.
    published: Mutex<Vec<Uuid>>,
}

/// What the event leads to, and the event that follows.
async fn react(
    event: &str,
    db: &mut PgConnection,
    order: &Order,
) -> sqlx::Result<Option<&'static str>> {
    let next = match event {
        "order.created" => match charge(db, order).await? {
            true => "payment.approved",
            false => "payment.failed",
        },
        "payment.approved" => match reserve(db, order).await? {
            true => "inventory.reserved",
            false => "inventory.failed",
        },
        "inventory.reserved" => {
            ship(db, order).await?;
            "shipping.scheduled"
        }
        "inventory.failed" => {
            refund(db, order).await?;
            "payment.refunded"
        }
        ending => {
            let status = match ending {
                "shipping.scheduled" => "CONFIRMED",
                "payment.failed" => "PAYMENT_FAILED",
                _ => "CANCELLED",
            };
            finish(db, order, status).await?;
            return Ok(None);
        }
    };
    Ok(Some(next))
}

/// To be published once the transaction is committed.
async fn note(db: &mut PgConnection, event: &str, order: &Order) -> Result<Row> {
    let id = Uuid::new_v5(&order.order_id, event.as_bytes());
    let row = (id, event.to_owned(), serde_json::to_vec(order)?);
    let note = query("INSERT INTO outbox (id, event, body) VALUES ($1, $2, $3)");
    note.bind(row.0).bind(&row.1).bind(&row.2).execute(db).await?;
    Ok(row)
}

impl Service {
    async fn handle(&self, delivery: &Delivery) -> Result<()> {
        let order: Order = serde_json::from_slice(&delivery.data)?;
        let id = delivery.properties.message_id().as_ref().context("a message without an id")?;
        let mut tx = self.db.begin().await?;
        let inbox = query("INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING");
        let inbox = inbox.bind(Uuid::parse_str(id.as_str())?).execute(&mut *tx).await?;
        let mut noted = None;
        if inbox.rows_affected() == 1
            && let Some(event) = react(delivery.routing_key.as_str(), &mut tx, &order).await?
        {
            noted = Some(note(&mut tx, event, &order).await?);
        }
        tx.commit().await?;
        delivery.acker.ack(BasicAckOptions::default()).await?;
        if let Some(row) = noted
            && let Err(error) = self.publish(row).await
        {
            eprintln!("left to the relay: {error:#}");
        }
        Ok(())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the outbox")]
    async fn publish(&self, (id, event, body): Row) -> Result<()> {
        let durable = BasicProperties::default().with_delivery_mode(2);
        let properties = durable.with_message_id(id.to_string().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (EXCHANGE.into(), event.as_str().into());
        let sent = self.channel.basic_publish(exchange, key, options, &body, properties).await?;
        let confirm = sent.await?;
        ensure!(confirm.is_ack() && confirm.take_message().is_none(), "{event} {id} is not taken");
        self.published.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Ok(())
    }

    /// Deletes published outbox rows, and publishes again what a crash or the broker left there.
    async fn relay(&self) -> Result<()> {
        loop {
            tokio::time::sleep(RELAY_EVERY).await;
            let done =
                mem::take(&mut *self.published.lock().unwrap_or_else(PoisonError::into_inner));
            let delete = query("DELETE FROM outbox WHERE id = ANY($1)");
            delete.bind(done).execute(&self.db).await?;
            let old = "SELECT id, event, body FROM outbox
                       WHERE created_at < clock_timestamp() - INTERVAL '5 seconds' LIMIT 100";
            for row in query_as::<_, Row>(old).fetch_all(&self.db).await? {
                self.publish(row).await?;
            }
        }
    }

    async fn consume(&self, queue: &str) -> Result<()> {
        self.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (queue, tag) = (queue.into(), queue.into());
        let options = BasicConsumeOptions::default();
        let consumer =
            self.channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        let handled = consumer.for_each_concurrent(usize::from(PREFETCH), |delivery| async move {
            let delivery = delivery.expect("the broker stays");
            if let Err(error) = self.handle(&delivery).await {
                eprintln!("{error:#}");
                let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                delivery.acker.nack(again).await.ok();
            }
        });
        handled.await;
        Ok(())
    }
}

/// Each service declares all queues, so that no event is published before its queue exists.
async fn declare(channel: &Channel) -> Result<()> {
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, none()).await?;
    for (service, events) in CONSUMES {
        let mut quorum = none();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(service.into(), durable, quorum).await?;
        for event in events {
            let (exchange, key) = (EXCHANGE.into(), (*event).into());
            let options = QueueBindOptions::default();
            channel.queue_bind(service.into(), exchange, key, options, none()).await?;
        }
    }
    Ok(())
}

/// The order and its event are committed before the answer.
async fn take(
    State(service): State<Arc<Service>>,
    Json(order): Json<Order>,
) -> Result<StatusCode, String> {
    let placed: Result<Row> = async {
        let mut tx = service.db.begin().await?;
        place(&mut *tx, &order).await?;
        let row = note(&mut tx, "order.created", &order).await?;
        tx.commit().await?;
        Ok(row)
    }
    .await;
    let row = placed.map_err(|error| format!("{error:#}"))?;
    tokio::spawn(async move { service.publish(row).await });
    Ok(StatusCode::CREATED)
}

#[tokio::main]
async fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("name the service: `naive order`")?;
    let db = open(&name).await?;
    sqlx::raw_sql(BOXES).execute(&db).await?;
    let url = setting("AMQP_URL");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    declare(&channel).await?;
    let service = Arc::new(Service { db, channel, published: Mutex::default() });
    let routes = Router::new().route("/orders", post(take)).with_state(Arc::clone(&service));
    let listener = tokio::net::TcpListener::bind(setting("LISTEN")).await?;
    let serving = async { Ok(axum::serve(listener, routes).await?) };
    tokio::try_join!(service.relay(), service.consume(&name), serving).map(drop)
}
