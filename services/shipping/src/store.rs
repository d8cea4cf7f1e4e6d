//! Holds all SQL of shipping.

use crate::dispatch::{Dispatch, Shipment, Status};
use database::{Failure, Transaction};
use events::{Money, OrderId, ProductId};
use futures::FutureExt;
use messaging::{Batch, Reply, Store};
use rust_decimal::Decimal;

pub struct Shipments;

database::row! {
    struct Row {
        order_id: OrderId,
        cancel_marked: bool,
        status: Option<String>,
        tracking_code: Option<String>,
        freight: Option<Decimal>,
        delivery_days: Option<i16>,
    }
}

impl Store for Shipments {
    type Tx = Transaction;
    type State = Dispatch;
    type Batch = Batch<Dispatch>;

    fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Dispatch>> {
        let query = tx.query(
            "SELECT order_id, cancel_marks.order_id IS NOT NULL AS cancel_marked,
                 status, tracking_code, freight, delivery_days
             FROM UNNEST($1::UUID[]) AS asked (order_id)
             LEFT JOIN shipments USING (order_id)
             LEFT JOIN cancel_marks USING (order_id)",
        );
        let rows = query.bind(orders).rows::<Row>();
        let batch = async move {
            let known = rows.await?.into_iter().map(|row| Ok((row.order_id, dispatch(row)?)));
            Ok(Batch::new(known.collect::<Result<Vec<_>, Failure>>()?))
        };
        batch.boxed()
    }

    async fn save(&self, tx: &mut Transaction, batch: &Batch<Dispatch>) -> Result<(), Failure> {
        let (mut marks, mut shipments) = (Vec::new(), Vec::new());
        for (order, dispatch) in batch.changed() {
            if dispatch.cancel_marked {
                marks.push(order);
            }
            if let Some(shipment) = &dispatch.shipment {
                shipments.push((order, shipment));
            }
        }
        if !marks.is_empty() {
            save_marks(tx, &marks);
        }
        if !shipments.is_empty() {
            save_shipments(tx, &shipments);
        }
        Ok(())
    }
}

fn dispatch(row: Row) -> Result<Dispatch, Failure> {
    let Some(name) = row.status else {
        return Ok(Dispatch { cancel_marked: row.cancel_marked, shipment: None });
    };
    let status = Status::ALL
        .into_iter()
        .find(|status| status.name() == name)
        .ok_or_else(|| Failure::permanent(format!("unknown shipment status {name:?}")))?;
    let shipment = Shipment {
        status,
        tracking_code: row.tracking_code,
        freight: Money::new(row.freight.unwrap_or_default()).map_err(Failure::permanent)?,
        delivery_days: row.delivery_days.and_then(|days| days.try_into().ok()).unwrap_or_default(),
    };
    Ok(Dispatch { cancel_marked: row.cancel_marked, shipment: Some(shipment) })
}

fn save_marks(tx: &mut Transaction, orders: &[OrderId]) {
    tx.batch(
        "INSERT INTO cancel_marks (order_id)
         SELECT * FROM UNNEST($1::UUID[])
         ON CONFLICT DO NOTHING",
        orders.len(),
    )
    .each(orders)
    .run();
}

fn save_shipments(tx: &mut Transaction, shipments: &[(OrderId, &Shipment)]) {
    tx.batch(
        "INSERT INTO shipments (order_id, status, tracking_code, freight, delivery_days)
         SELECT * FROM UNNEST($1::UUID[], $2::TEXT[], $3::TEXT[], $4::NUMERIC[], $5::SMALLINT[])
         ON CONFLICT (order_id) DO UPDATE
         SET status = EXCLUDED.status, updated_at = now()",
        shipments.len(),
    )
    .each(shipments.iter().map(|(order, _)| *order))
    .each(shipments.iter().map(|(_, shipment)| shipment.status.name()))
    .each(shipments.iter().map(|(_, shipment)| shipment.tracking_code.as_deref()))
    .each(shipments.iter().map(|(_, shipment)| shipment.freight.decimal()))
    .each(shipments.iter().map(|(_, shipment)| i16::from(shipment.delivery_days)))
    .run();
}

#[cfg(test)]
mod tests {
    use super::*;
    use messaging::{LoadedBatch, MessageStore, PgMessageStore};
    use uuid::Uuid;

    async fn save_and_load(
        message_store: &PgMessageStore,
        order: OrderId,
        dispatch: &Dispatch,
    ) -> Dispatch {
        let mut tx = message_store.begin().await.unwrap();
        let mut batch = Shipments.load(&mut tx, &[order], &[]).await.unwrap();
        batch.put(order, dispatch.clone());
        Shipments.save(&mut tx, &batch).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = message_store.begin().await.unwrap();
        Shipments.load(&mut tx, &[order, Uuid::from_u128(99)], &[]).await.unwrap().get(order, &[])
    }

    #[tokio::test]
    async fn what_is_saved_is_loaded_again() {
        let pool = database::testing::throwaway().await;
        crate::service(&crate::Settings {}).unwrap().migrate(&pool).await.unwrap();
        let message_store = PgMessageStore::new(pool);
        let order = Uuid::from_u128(7);
        let marked = Dispatch { cancel_marked: true, shipment: None };
        assert_eq!(save_and_load(&message_store, order, &marked).await, marked);
        let mut shipped =
            Dispatch { cancel_marked: true, shipment: Some(Shipment::book(order, &[])) };
        assert_eq!(save_and_load(&message_store, order, &shipped).await, shipped);
        shipped.shipment.as_mut().unwrap().status = Status::Cancelled;
        assert_eq!(save_and_load(&message_store, order, &shipped).await, shipped);
    }
}
