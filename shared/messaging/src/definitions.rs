//! Builds RabbitMQ's definitions file, topology and permissions: the broker imports it when it
//! starts, before any client connects.

use crate::{ExchangeKind, Header, Topology, UNROUTED, exchange_of};
use serde_json::{Map, Value, json};

impl Topology {
    /// Exchanges, queues, bindings and policies.
    pub fn definitions(&self, vhost: &str) -> Value {
        let exchanges = self.exchanges.iter().map(|exchange| {
            let kind = match exchange.kind {
                ExchangeKind::Topic => "topic",
                ExchangeKind::Headers => "headers",
                ExchangeKind::Direct => "direct",
                ExchangeKind::Fanout => "fanout",
            };
            json!({
                "name": exchange.name, "vhost": vhost, "type": kind, "durable": true,
                "auto_delete": false, "internal": false, "arguments": {},
            })
        });
        let queues = self.queues.iter().map(|(name, shape)| {
            json!({
                "name": name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": object(shape.arguments(self.queue_type)),
            })
        });
        let bindings = self.bindings.iter().map(|binding| {
            json!({
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue,
                "destination_type": "queue", "routing_key": binding.key,
                "arguments": object(binding.arguments()),
            })
        });
        json!({
            "exchanges": exchanges.collect::<Vec<_>>(),
            "queues": queues.collect::<Vec<_>>(),
            "bindings": bindings.collect::<Vec<_>>(),
            "policies": policies(vhost),
        })
    }
}

/// Properties that may change in a queue's life are policies, since arguments cannot change. The
/// services count attempts themselves: the broker's limit is a distant backstop, and a dead letter
/// stays however often it is read.
fn policies(vhost: &str) -> Value {
    let policy = |name: &str, priority: u8, (what, pattern): (&str, &str), definition: Value| {
        json!({
            "vhost": vhost, "name": name, "pattern": pattern, "apply-to": what,
            "priority": priority, "definition": definition,
        })
    };
    let (main, dead) = (("queues", r"^[a-z]+\.[a-z-]+$"), ("queues", r"\.dlq$|^unrouted$"));
    json!([
        policy("delivery-limit", 0, main, json!({ "delivery-limit": 1000 })),
        policy("keep-dead-letters", 1, dead, json!({ "delivery-limit": 1_000_000 })),
        policy(
            "unrouted-dead-letters",
            0,
            ("exchanges", r"\.dlx$"),
            json!({ "alternate-exchange": UNROUTED })
        ),
    ])
}

/// A broker user for each of these services, with least privilege: it publishes its own events,
/// moves its own messages to tiers and dead letters, and reads its own queues. It creates and
/// deletes nothing, and reads no dead letter. `password` is its login's.
pub fn users(services: &[&str], vhost: &str, password: impl Fn(&str) -> String) -> Value {
    let users = services
        .iter()
        .map(|service| json!({ "name": service, "password": password(service), "tags": "" }));
    let permissions = services.iter().map(|service| {
        json!({
            "user": service, "vhost": vhost, "configure": "^$",
            "write": format!(r"^{service}\.(exchange|retry|dlx)$"),
            "read": format!(r"^{service}\.[a-z-]+$"),
        })
    });
    let topics = services.iter().map(|service| {
        json!({
            "user": service, "vhost": vhost, "exchange": exchange_of(service),
            "write": format!(r"^{service}\."), "read": "^$",
        })
    });
    json!({
        "users": users.collect::<Vec<_>>(),
        "permissions": permissions.collect::<Vec<_>>(),
        "topic_permissions": topics.collect::<Vec<_>>(),
    })
}

fn object(entries: Vec<(&'static str, Header)>) -> Map<String, Value> {
    let value = |header| match header {
        Header::Text(text) => Value::from(text),
        Header::Number(number) => Value::from(number),
    };
    entries.into_iter().map(|(name, header)| (name.into(), value(header))).collect()
}
