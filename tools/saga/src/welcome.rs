//! What is said when all is up: where everything is, and what to do first.

use std::time::Duration;

use crate::say;
use crate::settings::Settings;

const FIRST_ORDER: &str = r#"  curl -i URL/orders -H 'Content-Type: application/json' -d '{
    "customer_id": "123e4567-e89b-12d3-a456-426614174000",
    "payment_method": "credit_card",
    "items": [
      {"product_id": "00000000-0000-0000-0000-000000000001", "quantity": 2, "unit_price": 49.90}
    ]}'
"#;

/// `took` is nothing where all ran already; `logs` says where they are.
pub fn print(settings: &Settings, took: Option<Duration>, logs: &str) {
    match took {
        Some(took) => say!("\nQuadrille is up, after {:.1} s.\n", took.as_secs_f32()),
        None => say!("\nQuadrille is up already.\n"),
    }
    let Settings { rabbitmq_port, rabbitmq_user, rabbitmq_password, .. } = settings;
    let (order, management) = (settings.order_url(), settings.management_url());
    say!("  the page   {order}/");
    say!("  orders     {order}/orders");
    say!(
        "  RabbitMQ   {management}  ({rabbitmq_user}/{rabbitmq_password}), \
         AMQP on 127.0.0.1:{rabbitmq_port}"
    );
    for database in &settings.databases {
        say!("  Postgres   {}", database.url());
    }
    if let Some(provider) = settings.mock_gateway_url() {
        say!(
            "  provider   {provider}  (`curl -X PUT {provider}/behaviour -d '{{\"down\": true}}'`)"
        );
    }
    say!("  logs       {logs}");
    say!("\nA first order:\n\n{}", FIRST_ORDER.replace("URL", &order));
}
