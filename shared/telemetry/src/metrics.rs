//! Lists all metrics. Without a reader, counting costs nothing.

mod instrument;

use crate::meters;

pub use crate::meters::page;
pub use instrument::{About, Counter, Gauge, Seconds};

/// A static for each, and the list of all.
macro_rules! metrics {
    ($($of:literal {
        $($id:ident: $kind:ident, $name:literal, [$($label:literal),*], $tells:literal;)*
    })*) => {
        $($(
            pub static $id: $kind<{ <[&str]>::len(&[$($label),*]) }> =
                $kind::new($name, $tells, [$($label),*]);
        )*)*

        pub const ALL: &[About] = &[$($(About {
            name: $name,
            kind: stringify!($kind),
            labels: &[$($label),*],
            of: $of,
            tells: $tells,
        }),*),*];
    };
}

metrics! {
    "every service" {
        CONSUMING: Gauge, "consuming", [], "1 while connected to its database and to RabbitMQ, and consuming";
        HELD_UP: Gauge, "held_up", [],
            "1 while its database answers and refuses some messages, which wait in a retry queue";
        CLOCK_AHEAD: Gauge, "clock_ahead_seconds", [],
            "seconds by which the machine's clock is ahead of the database's, which the service \
             uses";
        HANDLED: Counter, "messages_handled_total", ["queue"],
            "messages handled and committed";
        DUPLICATES: Counter, "messages_duplicate_total", ["queue"],
            "duplicate deliveries, ignored by the inbox";
        RETRIED: Counter, "messages_retried_total", ["queue"],
            "failed attempts that moved a message to a retry queue";
        DEAD: Counter, "messages_dead_total", ["queue"], "messages moved to a dead-letter queue";
        REFUSED: Counter, "messages_refused_total", ["queue"],
            "refusals of failed messages by a retry or dead-letter queue, to which they go later";
        OUTBOX: Gauge, "outbox_events", [], "events in the outbox, not yet confirmed by the broker";
        OUTBOX_AGE: Gauge, "outbox_oldest_seconds", [], "age of the oldest event in the \
            outbox that is not parked";
        OUTBOX_PARKED: Gauge, "outbox_parked_events", [], "events parked because publishing them \
            ended the session repeatedly";
    }
    "order" {
        RUNNING: Gauge, "orders_running", [], "orders that are not final yet";
        STUCK: Gauge, "orders_stuck", [],
            "orders whose compensation has made no progress for `ORDER_DEADLINE`";
        PLACED: Counter, "orders_placed_total", [], "orders answered 201 for the first time";
        ENDED: Seconds, "order_duration_seconds", ["status"],
            "from `order.created` to the event that made the order final";
        REQUESTS: Seconds, "http_request_duration_seconds", ["method", "route", "status"],
            "duration of HTTP requests";
        REFUSED_CONNECTIONS: Counter, "http_connections_refused_total", ["reason"],
            "connections that were closed: `full`, `plain-http` on a port for HTTPS, `handshake`, \
             `handshake-timeout`, `stalled`, `resets` (requests cancelled), `flood` (HTTP/2 \
             abused)";
        CERTIFICATE_EXPIRES: Gauge, "http_certificate_expires_timestamp_seconds", [],
            "when the certificate for HTTPS expires, in seconds since 1970";
        CLIENT_REQUESTS: Counter, "http_client_requests_total", ["client", "result"],
            "requests with a valid API key or token: `ok`, `refused` (4xx) or `failed`; the 50 \
             oldest clients with keys by name, the others as `other` or `token`";
    }
    "payment" {
        CALLS: Seconds, "gateway_call_duration_seconds", ["call", "result"],
            "calls to the payment provider";
        CHARGES: Counter, "charge_desk_processed_total", ["status"],
            "saved answers of the provider, by resulting payment status";
        POLLS: Seconds, "charge_desk_poll_duration_seconds", [],
            "duration of the charge desk's query for due charges";
        PAYMENTS: Gauge, "payments", ["status"], "payments by status, final ones excluded";
        REFUNDS: Gauge, "refunds_waiting", [], "refunds that are due and not yet made";
        REFUND_AGE: Gauge, "refunds_oldest_seconds", [],
            "age of the oldest due refund";
    }
}

/// Whether metrics are read.
pub fn wanted() -> bool {
    meters::PROVIDER.get().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_tells_of_each_and_of_no_other() {
        let (_, table) =
            include_str!("../../../docs/metrics.md").split_once("\n## Metrics").unwrap();
        let told: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<_> = ALL.iter().map(About::row).collect();
        assert!(told == rows, "docs/metrics.md needs these rows:\n{}", rows.join("\n"));
    }

    #[test]
    fn what_nobody_reads_is_not_counted() {
        PLACED.add(1, []);
        HANDLED.add(1, ["queue"]);
        ENDED.record(std::time::Duration::from_secs(1), ["CONFIRMED"]);
        assert!(!wanted());
        assert_eq!(page().unwrap(), "");
    }
}
