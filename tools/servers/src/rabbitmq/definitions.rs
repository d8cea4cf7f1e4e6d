//! Writes a node's initial definitions: an administrator, the virtual host `/`, and its owner's
//! additions.

use serde_json::{Value, json};

use super::RabbitConfig;

/// In the form of RabbitMQ's definitions file, which replaces the default user `guest`.
pub fn definitions(config: &RabbitConfig, additions: &[Value]) -> Value {
    let user = &config.user;
    let mut all = json!({
        "users": [{ "name": user, "password": config.password, "tags": "administrator" }],
        "vhosts": [{ "name": "/" }],
        "permissions": [
            { "user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" },
        ],
    });
    for (kind, more) in additions.iter().filter_map(Value::as_object).flatten() {
        let list = all[kind].as_array_mut().map(std::mem::take).unwrap_or_default();
        all[kind] = match more.as_array() {
            Some(more) => list.into_iter().chain(more.iter().cloned()).collect(),
            None => more.clone(),
        };
    }
    all
}
