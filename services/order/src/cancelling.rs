//! Asks the saga to undo an order, for the customer or because its time is up.

use crate::{
    order::{Cancel, Status},
    saying::say,
    store::{self, Orders},
};
use database::Failure;
use events::{CancelReason, OrderCancelRequested, OrderId};
use messaging::{Known, Ledger, Store};
use serde_json::json;
use service::Context;
use std::time::Duration;

/// What came of a request, and how the order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted(Status),
    TooLate(Status),
    Unknown,
}

/// Run it in a task of its own: a transaction must not end half-way with its client.
pub async fn cancel(
    context: Context,
    orders: Orders,
    order_id: OrderId,
    reason: CancelReason,
    trace: Option<String>,
) -> Result<Outcome, Failure> {
    let ledger = &context.ledger;
    let mut tx = ledger.begin().await?;
    ledger.lock_orders(&mut tx, &[order_id]).await?;
    let Some(known) = store::cancellable(&mut tx, order_id).await? else {
        return Ok(Outcome::Unknown);
    };
    let mut loaded = orders.load(&mut tx, &[order_id], &[]).await?;
    let mut order = loaded.of(order_id, &[]);
    match order.cancel() {
        Cancel::TooLate => return Ok(Outcome::TooLate(order.status())),
        Cancel::UnderWay => return Ok(Outcome::Accepted(order.status())),
        Cancel::Say => {}
    }
    let requested = OrderCancelRequested {
        order_id,
        reason,
        payment_method: known.payment_method,
        total_amount: known.total_amount,
    };
    let detail = json!({ "reason": reason });
    let (fact, said) = say(&*context.world, &requested, detail, trace.or(known.trace));
    let event_id = said.id;
    order.remember(fact);
    let status = order.status();
    loaded.keep(order_id, order);
    orders.save(&mut tx, loaded).await?;
    let said = vec![said];
    ledger.enqueue(&mut tx, &said).await?;
    context.ledger.commit(tx).await?;
    tracing::info!(%order_id, %event_id, ?reason, "cancel requested");
    context.outbox.wake(said);
    orders.committed(&[order_id]);
    Ok(Outcome::Accepted(status))
}

/// Cancels what should have ended by now.
pub async fn overdue(context: Context, orders: Orders, deadline: Duration) -> anyhow::Result<()> {
    if deadline.is_zero() {
        return Ok(());
    }
    let before = context.world.now() - deadline;
    for order in store::overdue(&context.pool, before).await? {
        cancel(
            context.clone(),
            orders.clone(),
            order,
            CancelReason::Deadline,
            None,
        )
        .await?;
    }
    Ok(())
}
