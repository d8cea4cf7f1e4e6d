//! Verifies a running system, whose tables the services' own SQL reads.

use std::time::Duration;

use anyhow::Result;
use audit::{Endpoints, Readers, Told, Verdict};

const READERS: Readers = Readers {
    rows: &[
        ("order", |connection, snapshot| Box::pin(order::audit::read(connection, snapshot))),
        ("payment", |connection, snapshot| Box::pin(payment::audit::read(connection, snapshot))),
        ("inventory", |connection, snapshot| {
            Box::pin(inventory::audit::read(connection, snapshot))
        }),
        ("shipping", |connection, snapshot| Box::pin(shipping::audit::read(connection, snapshot))),
    ],
    open: |connection, orders_max| Box::pin(order::audit::open(connection, orders_max)),
};

pub async fn verify(
    endpoints: &Endpoints,
    wait: Duration,
    told: &Told,
    news: impl FnMut(&str),
) -> Result<Verdict> {
    audit::verify(endpoints, &READERS, wait, told, news).await
}
