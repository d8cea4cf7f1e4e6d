//! What a node has from its start: an administrator, the virtual host `/`, and the policies.

use serde_json::{Value, json};

use super::RabbitConfig;

/// In the form of RabbitMQ's definitions file, which replaces the default user `guest`.
pub fn definitions(config: &RabbitConfig) -> Value {
    let user = &config.user;
    let mut all = json!({
        "users": [{ "name": user, "password": config.password, "tags": "administrator" }],
        "vhosts": [{ "name": "/" }],
        "permissions": [
            { "user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" },
        ],
        "policies": policies(),
    });
    for (kind, more) in config.definitions.as_object().into_iter().flatten() {
        let list = all[kind].as_array_mut().map(std::mem::take).unwrap_or_default();
        all[kind] = match more.as_array() {
            Some(more) => list.into_iter().chain(more.iter().cloned()).collect(),
            None => more.clone(),
        };
    }
    all
}

/// What may change in a queue's life is a policy, since arguments cannot change.
pub fn policies() -> Value {
    // The services count attempts themselves: the broker's limit is a distant backstop, and a dead
    // letter is to stay however often it is looked at.
    json!([
        {
            "vhost": "/",
            "name": "delivery-limit",
            "pattern": r"^[a-z]+\.[a-z-]+$",
            "apply-to": "queues",
            "priority": 0,
            "definition": { "delivery-limit": 1000 },
        },
        {
            "vhost": "/",
            "name": "keep-dead-letters",
            "pattern": r"\.dlq$|^unrouted$",
            "apply-to": "queues",
            "priority": 1,
            "definition": { "delivery-limit": 1_000_000 },
        },
        {
            "vhost": "/",
            "name": "unrouted-dead-letters",
            "pattern": r"\.dlx$",
            "apply-to": "exchanges",
            "priority": 0,
            "definition": { "alternate-exchange": "unrouted" },
        },
    ])
}
