//! Lists every metric there is. Where nobody reads them, counting costs nothing.

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
        CONSUMING: Gauge, "consuming", [], "1 while connected to RabbitMQ and consuming";
        CLOCK_AHEAD: Gauge, "clock_ahead_seconds", [],
            "how far the machine's clock is ahead of the database's, by which the service goes";
        HANDLED: Counter, "messages_handled_total", ["queue"],
            "messages whose change is committed";
        DUPLICATES: Counter, "messages_duplicate_total", ["queue"],
            "repeated deliveries, which change nothing";
        RETRIED: Counter, "messages_retried_total", ["queue"],
            "failed attempts that put a message on a retry rung";
        DEAD: Counter, "messages_dead_total", ["queue"], "messages put among the dead letters";
        OUTBOX: Gauge, "outbox_events", [], "events said and not yet taken by the broker";
        OUTBOX_AGE: Gauge, "outbox_oldest_seconds", [], "age of the oldest of these";
        OUTBOX_PARKED: Gauge, "outbox_parked_events", [], "those of them whose publication ended the session again and again";
    }
    "order" {
        RUNNING: Gauge, "orders_running", [], "orders that are not final yet";
        STUCK: Gauge, "orders_stuck", [],
            "orders that are being undone and have made no progress for `ORDER_DEADLINE`";
        PLACED: Counter, "orders_placed_total", [], "orders answered 201 for the first time";
        ENDED: Seconds, "order_duration_seconds", ["status"],
            "from `order.created` to the event that made the order final";
        REQUESTS: Seconds, "http_request_duration_seconds", ["method", "route", "status"],
            "until an HTTP request is answered";
    }
    "payment" {
        CALLS: Seconds, "gateway_call_duration_seconds", ["call", "result"],
            "calls to the payment provider";
        CHARGES: Counter, "charge_desk_processed_total", ["status"],
            "answers of the provider that are written down, by what became of the payment";
        POLLS: Seconds, "charge_desk_poll_duration_seconds", [],
            "each look of the charge desk for what is due";
        PAYMENTS: Gauge, "payments", ["status"], "payments in this state, of those that are not the last";
        REFUNDS: Gauge, "refunds_waiting", [], "payments to be given back that are not yet";
        REFUND_AGE: Gauge, "refunds_oldest_seconds", [],
            "for how long the oldest of these is to be given back";
    }
}

/// Whether anybody reads what is measured.
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
