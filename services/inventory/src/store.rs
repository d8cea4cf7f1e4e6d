//! Holds all SQL of inventory.

use crate::shelf::{Product, Reservation, Shelf, Status};
use database::{Failure, Session, Transaction};
use events::{OrderId, ProductId};
use futures::FutureExt;
use messaging::{LoadedBatch, Reply, Store};
use std::collections::{BTreeMap, BTreeSet};

/// Removes the demonstration's products, which the first migration brings: those that are as it
/// left them, and that no order holds.
#[cfg(not(feature = "demo"))]
pub const WITHOUT_DEMO: &str = "
    DELETE FROM products
    WHERE (id, name, quantity_total, quantity_reserved) IN (
        ('00000000-0000-0000-0000-000000000001', 'Quill', 1000000000, 0),
        ('00000000-0000-0000-0000-000000000002', 'Limited print', 10, 0),
        ('00000000-0000-0000-0000-000000000003', 'Sold-out score', 0, 0),
        ('00000000-0000-0000-0000-000000000004', 'Grand piano (no carrier takes it)', 1000000000, 0)
    )";

pub struct Stock;

/// A batch: states per order, stock shared. Each decision sees the stock as the earlier decisions
/// have left it.
#[derive(Default)]
pub struct Shelves {
    pub reservations: BTreeMap<OrderId, Reservation>,
    pub refused: BTreeSet<OrderId>,
    pub products: BTreeMap<ProductId, Product>,
    changed_orders: BTreeSet<OrderId>,
    changed_products: BTreeSet<ProductId>,
}

impl LoadedBatch<Shelf> for Shelves {
    fn get(&self, order: OrderId, touched: &[ProductId]) -> Shelf {
        let reservation = self.reservations.get(&order).cloned();
        let held = reservation.iter().flat_map(|reservation| reservation.quantities.keys());
        let products =
            held.chain(touched).filter_map(|id| Some((*id, *self.products.get(id)?))).collect();
        Shelf { reservation, refused: self.refused.contains(&order), products }
    }

    fn put(&mut self, order: OrderId, shelf: Shelf) {
        if let Some(reservation) = shelf.reservation {
            self.reservations.insert(order, reservation);
        }
        if shelf.refused {
            self.refused.insert(order);
        }
        for (id, product) in shelf.products {
            if self.products.insert(id, product) != Some(product) {
                self.changed_products.insert(id);
            }
        }
        self.changed_orders.insert(order);
    }
}

database::row! {
    struct Row {
        order_id: OrderId,
        refused: bool,
        status: Option<String>,
        product_id: Option<ProductId>,
        quantity: Option<i64>,
    }
}

impl Store for Stock {
    type Tx = Transaction;
    type State = Shelf;
    type Batch = Shelves;

    fn load(
        &self,
        tx: &mut Transaction,
        orders: &[OrderId],
        touched: &[ProductId],
    ) -> Reply<'static, Shelves> {
        let query = tx.query(
            "SELECT order_id, refusals.order_id IS NOT NULL AS refused, status, product_id, quantity
             FROM UNNEST($1::UUID[]) AS asked (order_id)
             LEFT JOIN refusals USING (order_id)
             LEFT JOIN reservations USING (order_id)
             LEFT JOIN reservation_items USING (order_id)",
        );
        let rows = query.bind(orders).rows::<Row>();
        let products = lock_products(tx, orders, touched);
        let shelves = async move {
            let mut shelves = Shelves::default();
            for row in rows.await? {
                shelves.learn(row)?;
            }
            shelves.products = products.await?;
            Ok(shelves)
        };
        shelves.boxed()
    }

    async fn save(&self, tx: &mut Transaction, shelves: &Shelves) -> Result<(), Failure> {
        let (mut reservations, mut refused) = (Vec::new(), Vec::new());
        for order in &shelves.changed_orders {
            match shelves.reservations.get(order) {
                Some(reservation) => reservations.push((*order, reservation)),
                None => refused.push(*order),
            }
        }
        if !reservations.is_empty() {
            save_reservations(tx, &reservations);
        }
        if !refused.is_empty() {
            save_refusals(tx, &refused);
        }
        let changed = shelves.changed_products.iter();
        let products: Vec<_> = changed.map(|id| (*id, shelves.products[id])).collect();
        if !products.is_empty() {
            save_products(tx, &products);
        }
        Ok(())
    }
}

impl Shelves {
    fn learn(&mut self, row: Row) -> Result<(), Failure> {
        if row.refused {
            self.refused.insert(row.order_id);
        }
        let Some(name) = row.status else {
            return Ok(());
        };
        let status = Status::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or_else(|| Failure::permanent(format!("unknown reservation status {name:?}")))?;
        let reservation = self
            .reservations
            .entry(row.order_id)
            .or_insert_with(|| Reservation { status, quantities: BTreeMap::new() });
        if let (Some(product), Some(quantity)) = (row.product_id, row.quantity) {
            reservation.quantities.insert(product, quantity.unsigned_abs());
        }
        Ok(())
    }
}

/// Those that the orders hold, and the touched ones; in their order, so that two batches never
/// deadlock.
fn lock_products(
    tx: &Session,
    orders: &[OrderId],
    touched: &[ProductId],
) -> Reply<'static, BTreeMap<ProductId, Product>> {
    let query = tx.query(
        "SELECT id, quantity_total, quantity_reserved
         FROM products
         WHERE id IN (
             SELECT UNNEST($2::UUID[])
             UNION
             SELECT product_id FROM reservation_items WHERE order_id = ANY($1))
         ORDER BY id
         FOR NO KEY UPDATE OF products",
    );
    let rows = query.bind(orders).bind(touched).rows::<(ProductId, i64, i64)>();
    let products = async move {
        let product = |(id, total, reserved): (ProductId, i64, i64)| {
            (id, Product { total: total.unsigned_abs(), reserved: reserved.unsigned_abs() })
        };
        Ok(rows.await?.into_iter().map(product).collect())
    };
    products.boxed()
}

fn save_reservations(tx: &mut Transaction, reservations: &[(OrderId, &Reservation)]) {
    tx.batch(
        "INSERT INTO reservations (order_id, status)
         SELECT * FROM UNNEST($1::UUID[], $2::TEXT[])
         ON CONFLICT (order_id) DO UPDATE
         SET status = EXCLUDED.status, updated_at = now()",
        reservations.len(),
    )
    .each(reservations.iter().map(|(order, _)| *order))
    .each(reservations.iter().map(|(_, held)| held.status.name()))
    .run();
    let lines: Vec<_> = reservations
        .iter()
        .filter(|(_, held)| held.status == Status::Reserved)
        .flat_map(|(order, held)| held.quantities.iter().map(|line| (*order, line)))
        .collect();
    let quantities = lines.iter().map(|(_, (_, quantity))| signed(**quantity));
    tx.batch(
        "INSERT INTO reservation_items (order_id, product_id, quantity)
         SELECT * FROM UNNEST($1::UUID[], $2::UUID[], $3::BIGINT[])",
        lines.len(),
    )
    .each(lines.iter().map(|(order, _)| *order))
    .each(lines.iter().map(|(_, (product, _))| **product))
    .each(quantities)
    .run();
}

fn save_refusals(tx: &mut Transaction, orders: &[OrderId]) {
    tx.query("INSERT INTO refusals (order_id) SELECT * FROM UNNEST($1::UUID[])").bind(orders).run();
}

fn save_products(tx: &mut Transaction, products: &[(ProductId, Product)]) {
    tx.batch(
        "UPDATE products
         SET quantity_reserved = changed.reserved
         FROM UNNEST($1::UUID[], $2::BIGINT[]) AS changed (id, reserved)
         WHERE products.id = changed.id",
        products.len(),
    )
    .each(products.iter().map(|(id, _)| *id))
    .each(products.iter().map(|(_, product)| signed(product.reserved)))
    .run();
}

/// The column's own check refuses a value out of range.
fn signed(quantity: u64) -> i64 {
    i64::try_from(quantity).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{Item, Money};
    use messaging::{MessageStore, PgMessageStore};
    use uuid::Uuid;

    const PENS: Uuid = Uuid::from_u128(11);
    const PRINT: Uuid = Uuid::from_u128(12);

    async fn migrated() -> PgMessageStore {
        let pool = database::testing::throwaway().await;
        crate::service(&crate::Settings {}).unwrap().migrate(&pool).await.unwrap();
        sqlx::query(
            "INSERT INTO products (id, name, quantity_total)
             VALUES ($1, 'Pens', 1000), ($2, 'Print', 10)",
        )
        .bind(PENS)
        .bind(PRINT)
        .execute(&pool)
        .await
        .unwrap();
        PgMessageStore::new(pool)
    }

    #[cfg(not(feature = "demo"))]
    #[tokio::test]
    async fn without_the_demonstration_its_products_go_once_no_order_holds_them() {
        let pool = migrated().await.pool;
        let left = async || -> Vec<String> {
            crate::service(&crate::Settings {}).unwrap().migrate(&pool).await.unwrap();
            let names = sqlx::query_scalar("SELECT name FROM products ORDER BY id");
            names.fetch_all(&pool).await.unwrap()
        };
        assert_eq!(left().await, ["Pens", "Print"]);
        let ordered = "INSERT INTO products (id, name, quantity_total, quantity_reserved)
                       VALUES ('00000000-0000-0000-0000-000000000002', 'Limited print', 10, 1)";
        sqlx::query(ordered).execute(&pool).await.unwrap();
        assert_eq!(left().await, ["Limited print", "Pens", "Print"]);
        sqlx::query("UPDATE products SET quantity_reserved = 0").execute(&pool).await.unwrap();
        assert_eq!(left().await, ["Pens", "Print"]);
    }

    async fn change(
        message_store: &PgMessageStore,
        order: OrderId,
        change: impl FnOnce(Shelf) -> Shelf,
    ) -> Result<Shelf, Failure> {
        let mut tx = message_store.begin().await.unwrap();
        let mut shelves = Stock.load(&mut tx, &[order], &[PENS, PRINT]).await?;
        shelves.put(order, change(shelves.get(order, &[PENS, PRINT])));
        Stock.save(&mut tx, &shelves).await?;
        tx.commit().await?;
        let mut tx = message_store.begin().await.unwrap();
        Ok(Stock.load(&mut tx, &[order], &[PENS, PRINT]).await?.get(order, &[PENS, PRINT]))
    }

    fn items() -> Vec<Item> {
        [(PENS, 2), (PRINT, 10)]
            .map(|(product_id, quantity)| Item { product_id, quantity, unit_price: Money::ZERO })
            .into()
    }

    #[tokio::test]
    async fn a_reservation_is_kept_and_put_back() {
        let (message_store, order) = (migrated().await, Uuid::from_u128(7));
        let reserved =
            change(&message_store, order, |shelf| shelf.reserve(&items()).unwrap()).await.unwrap();
        assert_eq!(reserved.products[&PRINT], Product { total: 10, reserved: 10 });
        assert_eq!(reserved.reservation.as_ref().unwrap().quantities[&PENS], 2);
        let released =
            change(&message_store, order, |shelf| shelf.release().unwrap()).await.unwrap();
        assert_eq!(released.products[&PRINT].reserved, 0);
        assert_eq!(released.reservation.unwrap().status, Status::Released);
    }

    #[tokio::test]
    async fn a_refusal_is_kept() {
        let message_store = migrated().await;
        let refused =
            change(&message_store, Uuid::from_u128(8), |shelf| Shelf { refused: true, ..shelf })
                .await;
        assert!(refused.unwrap().refused);
    }

    #[tokio::test]
    async fn the_database_itself_refuses_more_than_there_is() {
        let message_store = migrated().await;
        let overdrawn = change(&message_store, Uuid::from_u128(9), |mut shelf| {
            shelf.products.insert(PRINT, Product { total: 10, reserved: 11 });
            shelf
        });
        assert!(matches!(overdrawn.await, Err(Failure::Permanent(_))));
    }

    #[test]
    fn orders_of_one_batch_share_the_stock() {
        let mut shelves = Shelves::default();
        shelves.products.insert(PRINT, Product { total: 10, reserved: 0 });
        let wish = [Item { product_id: PRINT, quantity: 6, unit_price: Money::ZERO }];
        let first = shelves.get(Uuid::from_u128(1), &[PRINT]).reserve(&wish).unwrap();
        shelves.put(Uuid::from_u128(1), first);
        let second = shelves.get(Uuid::from_u128(2), &[PRINT]).reserve(&wish);
        assert_eq!(second.unwrap_err()[0].available, 4);
    }
}
