//! New orders, many in one transaction.

use super::{answers, insert_facts};
use crate::{store::Answer, view::View};
use database::{Failure, Transaction};
use events::{Item, OrderId};
use messaging::{Ledger, Outgoing, PgLedger};

/// A new order, with what is said about it and answered.
pub struct Placed {
    pub view: View,
    pub said: Outgoing,
    /// Where the customer gave an idempotency key.
    pub answer: Option<Answer>,
}

/// Writes all of them, whole.
pub async fn place(
    tx: &mut Transaction,
    ledger: &PgLedger,
    placed: &[Placed],
) -> Result<(), Failure> {
    if placed.is_empty() {
        return Ok(());
    }
    insert_orders(tx, placed).await?;
    insert_items(tx, placed).await?;
    let facts: Vec<_> = placed
        .iter()
        .flat_map(|new| new.view.order.timeline().iter().map(|fact| (new.view.id, fact)))
        .collect();
    insert_facts(tx, &facts).await?;
    let answers: Vec<_> = placed.iter().filter_map(|new| new.answer.as_ref()).collect();
    if !answers.is_empty() {
        answers::insert(tx, &answers).await?;
    }
    let said: Vec<_> = placed.iter().map(|new| new.said.clone()).collect();
    ledger.enqueue(tx, &said).await
}

async fn insert_orders(tx: &mut Transaction, placed: &[Placed]) -> Result<(), Failure> {
    let views = || placed.iter().map(|new| &new.view);
    sqlx::query(
        "INSERT INTO orders (id, customer_id, payment_method, status, total_amount, trace,
             created_at, updated_at)
         SELECT *
         FROM UNNEST($1::UUID[], $2::UUID[], $3::TEXT[], $4::TEXT[], $5::NUMERIC[], $6::TEXT[],
             $7::TIMESTAMPTZ[], $8::TIMESTAMPTZ[])",
    )
    .bind(views().map(|view| view.id).collect::<Vec<_>>())
    .bind(views().map(|view| view.customer_id).collect::<Vec<_>>())
    .bind(views().map(|view| view.payment_method.name()).collect::<Vec<_>>())
    .bind(views().map(|view| view.order.status().name()).collect::<Vec<_>>())
    .bind(views().map(|view| view.total_amount.decimal()).collect::<Vec<_>>())
    .bind(placed.iter().map(|new| new.said.trace.as_deref()).collect::<Vec<_>>())
    .bind(views().map(|view| view.created_at).collect::<Vec<_>>())
    .bind(views().map(View::updated_at).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_items(tx: &mut Transaction, placed: &[Placed]) -> Result<(), Failure> {
    let lines: Vec<(OrderId, i32, &Item)> = placed
        .iter()
        .flat_map(|new| (1..).zip(&new.view.items).map(|(line, item)| (new.view.id, line, item)))
        .collect();
    sqlx::query(
        "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
         SELECT *
         FROM UNNEST($1::UUID[], $2::INTEGER[], $3::UUID[], $4::INTEGER[], $5::NUMERIC[])",
    )
    .bind(lines.iter().map(|(order, ..)| *order).collect::<Vec<_>>())
    .bind(lines.iter().map(|(_, line, _)| *line).collect::<Vec<_>>())
    .bind(lines.iter().map(|(.., item)| item.product_id).collect::<Vec<_>>())
    .bind(lines.iter().map(|(.., item)| item.quantity.cast_signed()).collect::<Vec<_>>())
    .bind(lines.iter().map(|(.., item)| item.unit_price.decimal()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
