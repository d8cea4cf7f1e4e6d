//! A topology as RabbitMQ imports it when it starts, so that everything is there before anyone
//! comes.

use crate::{ExchangeKind, Header, Topology};
use serde_json::{Map, Value, json};

const VHOST: &str = "/";

impl Topology {
    /// RabbitMQ's own format, for `load_definitions`.
    pub fn definitions(&self) -> Value {
        let exchanges = self.exchanges.iter().map(|exchange| {
            let kind = match exchange.kind {
                ExchangeKind::Topic => "topic",
                ExchangeKind::Headers => "headers",
                ExchangeKind::Direct => "direct",
                ExchangeKind::Fanout => "fanout",
            };
            json!({
                "name": exchange.name, "vhost": VHOST, "type": kind, "durable": true,
                "auto_delete": false, "internal": false, "arguments": {},
            })
        });
        let queues = self.queues.iter().map(|(name, shape)| {
            json!({
                "name": name, "vhost": VHOST, "durable": true, "auto_delete": false,
                "arguments": object(shape.arguments()),
            })
        });
        let bindings = self.bindings.iter().map(|binding| {
            json!({
                "source": binding.exchange, "vhost": VHOST, "destination": binding.queue,
                "destination_type": "queue", "routing_key": binding.key,
                "arguments": object(binding.arguments()),
            })
        });
        json!({
            "exchanges": exchanges.collect::<Vec<_>>(),
            "queues": queues.collect::<Vec<_>>(),
            "bindings": bindings.collect::<Vec<_>>(),
        })
    }
}

fn object(entries: Vec<(&'static str, Header)>) -> Map<String, Value> {
    let value = |header| match header {
        Header::Text(text) => Value::from(text),
        Header::Number(number) => Value::from(number),
    };
    entries.into_iter().map(|(name, header)| (name.into(), value(header))).collect()
}
