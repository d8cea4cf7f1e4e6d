//! Verifies a running system, whose tables the services' own SQL reads.

use std::time::Duration;

use anyhow::Result;
use audit::{Endpoints, Readers, Told, Verdict};

const READERS: Readers = Readers {
    rows: &[
        ("order", |connection, scope, rows| Box::pin(order::audit::read(connection, scope, rows))),
        ("payment", |connection, scope, rows| {
            Box::pin(payment::audit::read(connection, scope, rows))
        }),
        ("inventory", |connection, scope, rows| {
            Box::pin(inventory::audit::read(connection, scope, rows))
        }),
        ("shipping", |connection, scope, rows| {
            Box::pin(shipping::audit::read(connection, scope, rows))
        }),
    ],
    open: |connection, orders_max| Box::pin(order::audit::open(connection, orders_max)),
    nth_last: |connection, scope, orders| {
        Box::pin(order::audit::nth_last(connection, scope, orders))
    },
    products: |connection| Box::pin(inventory::audit::products(connection)),
};

pub async fn verify(
    endpoints: &Endpoints,
    wait: Duration,
    told: &Told,
    news: impl FnMut(&str),
) -> Result<Verdict> {
    audit::verify(endpoints, &READERS, wait, told, news).await
}
