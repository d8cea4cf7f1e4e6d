//! Injects the faults, and repairs them as the runbooks of docs/operations.md say.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use audit::Broker;
use kit::api::Draft;
use kit::scenario::Scenario;
use lapin::types::FieldTable;
use messaging::{dead_letters, exchange_of, queue_name};
use serde_json::{Value, json};
use servers::{Certificates, certificates::Authority};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::sleep;

use super::fault::Kind;
use super::system::Watched;
use crate::load::Goods;

/// The indexes of services.
const ORDER: usize = 0;
const PAYMENT: usize = 1;
const SHIPPING: usize = 3;

const TINY: f64 = 0.000_01;
const MEMORY_SHARE: f64 = 0.4;
/// Less than the event of an order of so many items.
const SMALL: usize = 4096;
const ITEMS: u32 = 100;
/// The limit of every private node.
const MESSAGE_MAX: usize = 1_048_576;

/// Its dead letters are those of shipping.
const PARKED_OF: &str = "shipping.inventory-reserved";
const REFUSE: &str = "ALTER TABLE shipments
    ADD CONSTRAINT refused CHECK (status <> 'FAILED') NOT VALID";
const ACCEPT: &str = "ALTER TABLE shipments DROP CONSTRAINT refused";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many requests without a key that the load's are a tenth at most.
const STRANGERS_PAUSE: Duration = Duration::from_millis(8);

/// Shorter than the service's deadline.
const SLOW: &str = "CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE TRIGGER wait_long BEFORE INSERT ON shipments EXECUTE FUNCTION wait_long()";

impl Watched {
    pub async fn inject(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::RefusedRows => self.sql("shipping", REFUSE).await,
            Kind::FullDeadLetters => {
                self.limit_dead_letters(true).await?;
                self.sql("shipping", REFUSE).await
            }
            Kind::Unrouted => self.unbind("order", "order.created", "payment").await,
            Kind::TooLarge => {
                self.limit_messages(SMALL).await?;
                self.place_large().await
            }
            Kind::LostEvents => self.unbind("shipping", "shipping.failed", "inventory").await,
            Kind::RefusedRefunds => self.provider(&json!({ "refuse_refunds": true })).await,
            Kind::ProviderDown => self.provider(&json!({ "down": true })).await,
            Kind::OrdersDatabaseGone => self.system.servers.postgres[ORDER].kill().await,
            Kind::Strangers => self.invite_strangers(),
            Kind::OldCertificate => self.certify_order_for(6).await,
            Kind::WrongRow => self.reserve_by_hand(1).await,
            Kind::Purged => self.purge_one().await,
            Kind::VerifierStopped => self.stop_verifier().await,
            Kind::ServiceKilled => self.system.replicas[PAYMENT].kill().await,
            Kind::LockedTable => {
                let mut database = PgConnection::connect(self.database("inventory")?).await?;
                database.execute("BEGIN; LOCK TABLE products IN EXCLUSIVE MODE").await?;
                self.lock = Some(database);
                Ok(())
            }
            Kind::ClockAhead => {
                let library = self.faketime.to_str().context("its path is text")?;
                let shipping = &mut self.system.replicas[SHIPPING];
                shipping.stop().await?;
                shipping.start_with(&[
                    ("LD_PRELOAD", library),
                    ("FAKETIME", "+300s"),
                    // Durations are measured by the monotonic clock, which is not shifted.
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ])
            }
            Kind::SlowDatabase => {
                self.sql("shipping", SLOW).await?;
                let shipping = &mut self.system.replicas[SHIPPING];
                shipping.stop().await?;
                shipping.start_with(&[("BATCH_MAX", "4")])
            }
            Kind::RefusedReleases => {
                let refuse = "ALTER TABLE reservations
                    ADD CONSTRAINT refused CHECK (status <> 'RELEASED') NOT VALID";
                self.sql("inventory", refuse).await
            }
            Kind::MemoryAlarm => self.system.servers.rabbitmq().limit_memory(TINY).await,
            Kind::ExporterStopped => self.stop_exporter().await,
            Kind::BrokerKilled => self.system.servers.rabbitmq_mut().kill().await,
            Kind::CollectorStopped => {
                self.collector.stop().await;
                Ok(())
            }
        }
    }

    pub async fn repair(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::RefusedRows => {
                self.sql("shipping", ACCEPT).await?;
                self.replay_dead_letters().await
            }
            Kind::FullDeadLetters => {
                self.limit_dead_letters(false).await?;
                self.sql("shipping", ACCEPT).await?;
                // Those that were refused come, too.
                while self.ready("shipping.retry.30s").await? > 0 {
                    sleep(LOOK_EVERY).await;
                }
                self.replay_dead_letters().await
            }
            Kind::Unrouted => self.bind("order", "order.created", "payment").await,
            Kind::TooLarge => {
                self.limit_messages(MESSAGE_MAX).await?;
                let again = "UPDATE outbox SET due_at = now() WHERE parked_at IS NOT NULL";
                self.sql("order", again).await
            }
            Kind::LostEvents => {
                self.bind("shipping", "shipping.failed", "inventory").await?;
                let queue = queue_name("inventory", "shipping.failed");
                self.saga(&["replay", "--to", &queue, "--since", "oldest"]).await
            }
            Kind::RefusedRefunds => self.provider(&json!({ "refuse_refunds": false })).await,
            Kind::ProviderDown => self.provider(&json!({ "down": false })).await,
            Kind::OrdersDatabaseGone => self.system.servers.postgres[ORDER].restart().await,
            Kind::Strangers => {
                self.strangers.shutdown().await;
                Ok(())
            }
            Kind::OldCertificate => {
                let order = &mut self.system.replicas[ORDER];
                order.stop().await?;
                order.start()
            }
            Kind::WrongRow => self.reserve_by_hand(-1).await,
            Kind::Purged => {
                self.saga(&["replay", "--to", PARKED_OF, "--since", "oldest"]).await?;
                let order = &mut self.system.replicas[ORDER];
                order.stop().await?;
                order.start()
            }
            Kind::VerifierStopped => self.start_verifier(),
            Kind::ServiceKilled => self.system.replicas[PAYMENT].start(),
            Kind::LockedTable => {
                self.lock = None;
                Ok(())
            }
            Kind::ClockAhead => {
                let shipping = &mut self.system.replicas[SHIPPING];
                shipping.kill().await?;
                shipping.start()
            }
            Kind::SlowDatabase => {
                let fast = "DROP TRIGGER wait_long ON shipments; DROP FUNCTION wait_long";
                self.sql("shipping", fast).await?;
                let shipping = &mut self.system.replicas[SHIPPING];
                shipping.stop().await?;
                shipping.start()
            }
            Kind::RefusedReleases => {
                self.sql("inventory", "ALTER TABLE reservations DROP CONSTRAINT refused").await
            }
            Kind::MemoryAlarm => self.system.servers.rabbitmq().limit_memory(MEMORY_SHARE).await,
            Kind::ExporterStopped => self.start_exporter().await,
            Kind::BrokerKilled => self.system.servers.rabbitmq_mut().restart().await,
            Kind::CollectorStopped => self.collector.serve().await,
        }
    }

    /// Has RabbitMQ take two of shipping's dead letters, or all.
    async fn limit_dead_letters(&self, are_limited: bool) -> Result<()> {
        let set = if are_limited {
            "rabbit_policy:parse_set(<<\"/\">>, <<\"limit\">>, <<\"[.]dlq$\">>, \
             <<\"{\\\"max-length\\\":1,\\\"delivery-limit\\\":1000000}\">>, <<\"9\">>, \
             <<\"queues\">>, <<\"lab\">>)."
        } else {
            "rabbit_policy:delete(<<\"/\">>, <<\"limit\">>, <<\"lab\">>)."
        };
        self.system.servers.rabbitmq().eval(set).await.map(drop)
    }

    async fn replay_dead_letters(&self) -> Result<()> {
        let because = "the rows are accepted";
        self.saga(&["dlq", "replay", PARKED_OF, "--yes", "--because", because]).await
    }

    /// A dead letter of an order that does not give up.
    async fn purge_one(&mut self) -> Result<()> {
        let order = &mut self.system.replicas[ORDER];
        order.stop().await?;
        order.start_with(&[("ORDER_DEADLINE", "1h")])?;
        self.sql("shipping", REFUSE).await?;
        while self.ready(&dead_letters(PARKED_OF)).await? == 0 {
            sleep(LOOK_EVERY).await;
        }
        self.sql("shipping", ACCEPT).await?;
        self.saga(&["dlq", "purge", PARKED_OF, "--yes"]).await
    }

    async fn ready(&self, queue: &str) -> Result<u32> {
        let broker = Broker::connect(&self.system.endpoints).await?;
        Ok(broker.state(queue).await?.map_or(0, |state| state.ready))
    }

    fn invite_strangers(&mut self) -> Result<()> {
        let api = self.api()?.with_key(None);
        self.strangers.spawn(async move {
            loop {
                api.place(&Scenario::Confirmed.draft(), None).await.ok();
                sleep(STRANGERS_PAUSE).await;
            }
        });
        Ok(())
    }

    /// By an authority that no client knows.
    async fn certify_order_for(&mut self, days: i64) -> Result<()> {
        let certificates = Certificates::at(&self.system.servers.settings.certificates());
        certificates
            .write("soon", &Authority::new()?.server(&["localhost", "127.0.0.1"], days)?)?;
        let (certificate, key) = (certificates.certificate("soon"), certificates.key("soon"));
        let text = |path: PathBuf| path.display().to_string();
        let order = &mut self.system.replicas[ORDER];
        order.stop().await?;
        order.start_with(&[
            ("HTTP_TLS_CERT_FILE", &text(certificate)),
            ("HTTP_TLS_KEY_FILE", &text(key)),
        ])
    }

    async fn sql(&self, service: &str, statements: &'static str) -> Result<()> {
        let mut database = PgConnection::connect(self.database(service)?).await?;
        database.execute(statements).await?;
        Ok(())
    }

    async fn reserve_by_hand(&self, pieces: i64) -> Result<()> {
        let mut database = PgConnection::connect(self.database("inventory")?).await?;
        let product = Scenario::Confirmed.draft().items[0].product_id;
        let update = sqlx::query(
            "UPDATE products
             SET quantity_reserved = quantity_reserved + $2
             WHERE id = $1",
        );
        let update = update.bind(product).bind(pieces).execute(&mut database).await?;
        ensure!(update.rows_affected() == 1, "no such product");
        Ok(())
    }

    async fn unbind(&self, publisher: &str, event: &str, subscriber: &str) -> Result<()> {
        let broker = Broker::connect(&self.system.endpoints).await?;
        let channel = broker.connection().create_channel().await?;
        let (queue, exchange) = (queue_name(subscriber, event), exchange_of(publisher));
        channel
            .queue_unbind(queue.into(), exchange.into(), event.into(), FieldTable::default())
            .await?;
        Ok(())
    }

    async fn bind(&self, publisher: &str, event: &str, subscriber: &str) -> Result<()> {
        let broker = Broker::connect(&self.system.endpoints).await?;
        let channel = broker.connection().create_channel().await?;
        let (queue, exchange) = (queue_name(subscriber, event), exchange_of(publisher));
        let options = lapin::options::QueueBindOptions::default();
        channel
            .queue_bind(queue.into(), exchange.into(), event.into(), options, FieldTable::default())
            .await?;
        Ok(())
    }

    /// RabbitMQ reads it from one of two places, by its version, and for new channels only.
    async fn limit_messages(&self, bytes: usize) -> Result<()> {
        let set = format!(
            "ok = application:set_env(rabbit, max_message_size, {bytes}), \
             ok = persistent_term:put(max_message_size, {bytes}), \
             [rabbit_networking:close_connection(Pid, <<\"limit\">>) \
              || Pid <- rabbit_networking:connections()]."
        );
        self.system.servers.rabbitmq().eval(&set).await.map(drop)
    }

    async fn place_large(&self) -> Result<()> {
        let goods = Goods::Spread(ITEMS);
        goods.shelve(self.database("inventory")?).await?;
        let draft = Draft { items: goods.one_of_each(), ..Scenario::Confirmed.draft() };
        self.api()?.place(&draft, None).await.context("the large order")?;
        Ok(())
    }

    async fn provider(&self, behaviour: &Value) -> Result<()> {
        let url = self.system.servers.settings.mock_gateway_url();
        let url = url.context("the provider has an address")? + "/behaviour";
        let http = https::plain().no_proxy().build()?;
        http.put(url).json(behaviour).send().await?.error_for_status()?;
        Ok(())
    }
}
