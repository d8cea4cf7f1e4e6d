//! Verifies a running system, whose tables the services' own SQL reads.

use std::time::Duration;

use anyhow::Result;
use audit::{Endpoints, Margins, Readers, Told, Verdict};
use events::ADD_ONS;

pub const READERS: Readers = Readers {
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
    progress: |connection| Box::pin(order::audit::progress(connection)),
    keep_progress: |connection, state| Box::pin(order::audit::keep_progress(connection, state)),
    products: |connection| Box::pin(inventory::audit::products(connection)),
    add_ons: ADD_ONS,
};

pub async fn verify(
    endpoints: &Endpoints,
    wait: Duration,
    told: &Told,
    news: impl FnMut(&str),
) -> Result<Verdict> {
    audit::verify(endpoints, &READERS, wait, told, news).await
}

/// Verifies, under load, the orders that changed since the last such check.
pub async fn verify_since(
    endpoints: &Endpoints,
    margins: Margins,
    from_start: bool,
    news: impl FnMut(&str),
) -> Result<Verdict> {
    audit::verify_since(endpoints, &READERS, margins, from_start, news).await
}
