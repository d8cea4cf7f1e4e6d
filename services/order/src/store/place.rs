//! New orders, many in one transaction.

use super::{answers, write_facts};
use crate::{store::Answer, view::View};
use database::{Failure, Transaction};
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
        "INSERT INTO orders (id, customer_id, payment_method, total_amount, items, trace,
             created_at, facts, status, updated_at)
         SELECT id, customer_id, payment_method, total_amount, items::JSONB, trace,
             created_at, facts::JSONB, status, updated_at
         FROM UNNEST($1::UUID[], $2::UUID[], $3::TEXT[], $4::NUMERIC[], $5::TEXT[], $6::TEXT[],
             $7::TIMESTAMPTZ[], $8::TEXT[], $9::TEXT[], $10::TIMESTAMPTZ[])
             AS new (id, customer_id, payment_method, total_amount, items, trace,
             created_at, facts, status, updated_at)",
    )
    .bind(views().map(|view| view.id).collect::<Vec<_>>())
    .bind(views().map(|view| view.customer_id).collect::<Vec<_>>())
    .bind(views().map(|view| view.payment_method.name()).collect::<Vec<_>>())
    .bind(views().map(|view| view.total_amount.decimal()).collect::<Vec<_>>())
    .bind(views().map(items_text).collect::<Vec<_>>())
    .bind(placed.iter().map(|new| new.said.trace.as_deref()).collect::<Vec<_>>())
    .bind(views().map(|view| view.created_at).collect::<Vec<_>>())
    .bind(views().map(|view| write_facts(view.order.timeline())).collect::<Vec<_>>())
    .bind(views().map(|view| view.order.status().name()).collect::<Vec<_>>())
    .bind(views().map(View::updated_at).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn items_text(view: &View) -> String {
    serde_json::to_string(&view.items).expect("items are plain data")
}
