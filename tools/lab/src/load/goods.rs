//! Chooses each order's product: the same for all orders (a flash sale), or one of many.

use anyhow::{Context, Result};
use demo::QUILL;
use events::{Item, Money, ProductId};
use kit::api::Draft;
use messaging::{Env, SystemEnv};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

/// The first product of a spread-out load; the demo's own are the first few.
const FIRST: u128 = 0x0010_0000;
/// The demo's stock of products that are never sold out.
const PLENTY: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Goods {
    /// The scenario's product: nearly always the demo's first one.
    #[default]
    Usual,
    /// This product, which may be sold out.
    One(ProductId),
    /// This many products in turn, each with ample stock.
    Spread(u32),
    /// A new product with this many pieces.
    Flash { product: ProductId, stock: u64 },
}

impl Goods {
    pub fn flash(stock: u64) -> Self {
        Self::Flash { product: SystemEnv.new_id(), stock }
    }

    /// Puts the product into the order; returns whether it may be sold out.
    pub fn put_into(&self, draft: &mut Draft, number: usize) -> bool {
        let (product_id, is_limited) = match self {
            Self::Usual => return false,
            Self::One(product) | Self::Flash { product, .. } => (*product, true),
            Self::Spread(products) => {
                let place = number % usize::try_from(*products).unwrap_or(1).max(1);
                (spread(u32::try_from(place).unwrap_or(0)), false)
            }
        };
        // Orders that must fail for want of stock, or of a carrier, keep their product.
        for item in draft.items.iter_mut().filter(|item| item.product_id == QUILL) {
            let quantity = if is_limited { 1 } else { item.quantity };
            *item = Item { product_id, quantity, ..item.clone() };
        }
        is_limited
    }

    /// One piece of each product in stock.
    pub fn one_of_each(&self) -> Vec<Item> {
        let unit_price = Money::cents(100);
        let item = |(product_id, _)| Item { product_id, quantity: 1, unit_price };
        self.stock().into_iter().map(item).collect()
    }

    fn stock(&self) -> Vec<(ProductId, u64)> {
        match self {
            Self::Usual | Self::One(_) => Vec::new(),
            Self::Spread(products) => (0..*products).map(|n| (spread(n), PLENTY)).collect(),
            Self::Flash { product, stock } => vec![(*product, *stock)],
        }
    }

    /// Adds the products to the stock, where they are missing.
    pub async fn shelve(&self, inventory: &str) -> Result<()> {
        let (ids, totals): (Vec<_>, Vec<_>) =
            self.stock().into_iter().map(|(id, total)| (id, total.cast_signed())).unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let failed = "cannot put what is to be sold into inventory's database";
        let mut connection = PgConnection::connect(inventory).await.context(failed)?;
        sqlx::query(
            "INSERT INTO products (id, name, quantity_total)
             SELECT id, 'Load', total
             FROM UNNEST($1::UUID[], $2::BIGINT[]) AS wanted (id, total)
             ORDER BY id
             ON CONFLICT DO NOTHING",
        )
        .bind(ids)
        .bind(totals)
        .execute(&mut connection)
        .await
        .context(failed)?;
        Ok(())
    }
}

const fn spread(number: u32) -> ProductId {
    Uuid::from_u128(FIRST + number as u128)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use kit::scenario::Scenario;

    fn ordered(goods: &Goods, scenario: Scenario, number: usize) -> (Item, bool) {
        let mut draft = scenario.draft();
        let is_limited = goods.put_into(&mut draft, number);
        (draft.items.remove(0), is_limited)
    }

    #[test]
    fn orders_are_spread_over_products_that_are_on_the_shelf() {
        let goods = Goods::Spread(50);
        let ids: HashSet<_> =
            (0..120).map(|n| ordered(&goods, Scenario::Confirmed, n).0.product_id).collect();
        assert_eq!(ids, goods.stock().into_iter().map(|(id, _)| id).collect());
        assert_eq!(ids.len(), 50);
    }

    #[test]
    fn a_flash_sale_is_of_one_new_product_a_piece_an_order() {
        let goods = Goods::flash(7);
        let (one, is_limited) = ordered(&goods, Scenario::Confirmed, 0);
        assert_eq!((one.quantity, is_limited), (1, true));
        assert_eq!(goods.stock(), [(one.product_id, 7)]);
        assert_ne!(goods, Goods::flash(7), "nothing of the last sale is left over");
    }

    #[test]
    fn what_is_to_fail_still_fails() {
        let (one, _) = ordered(&Goods::Spread(50), Scenario::Carrier, 3);
        assert_eq!(one, Scenario::Carrier.draft().items[0]);
        let (one, is_limited) = ordered(&Goods::Usual, Scenario::Confirmed, 3);
        assert_eq!((one.product_id, is_limited), (QUILL, false));
    }
}
