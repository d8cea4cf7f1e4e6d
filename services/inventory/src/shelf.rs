//! Holds inventory's state of an order and of the products that it touches. Pure.

use events::{Item, ProductId, Shortage};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    pub reservation: Option<Reservation>,
    /// The order was refused.
    pub refused: bool,
    /// The products that this decision touches.
    pub products: BTreeMap<ProductId, Product>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Product {
    pub total: u64,
    pub reserved: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub status: Status,
    pub quantities: BTreeMap<ProductId, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Reserved,
    Released,
}

impl Status {
    pub const ALL: [Self; 2] = [Self::Reserved, Self::Released];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "RESERVED",
            Self::Released => "RELEASED",
        }
    }
}

impl Product {
    const fn available(self) -> u64 {
        self.total.saturating_sub(self.reserved)
    }
}

impl Shelf {
    /// Reserves all items; or returns the shortages and reserves nothing.
    pub fn reserve(mut self, items: &[Item]) -> Result<Self, Vec<Shortage>> {
        let quantities = quantities(items);
        let short: Vec<_> = quantities
            .iter()
            .filter_map(|(product, wanted)| self.shortage(*product, *wanted))
            .collect();
        if !short.is_empty() {
            return Err(short);
        }
        for (product, wanted) in &quantities {
            if let Some(product) = self.products.get_mut(product) {
                product.reserved += wanted;
            }
        }
        self.reservation = Some(Reservation { status: Status::Reserved, quantities });
        Ok(self)
    }

    /// Releases the reservation; `None` without one.
    pub fn release(mut self) -> Option<Self> {
        let reservation = self.reservation.as_mut()?;
        if reservation.status == Status::Released {
            return None;
        }
        reservation.status = Status::Released;
        for (product, quantity) in &reservation.quantities {
            if let Some(product) = self.products.get_mut(product) {
                product.reserved = product.reserved.saturating_sub(*quantity);
            }
        }
        Some(self)
    }

    /// An unknown product is out of stock.
    fn shortage(&self, product_id: ProductId, wanted: u64) -> Option<Shortage> {
        let available = self.products.get(&product_id).map_or(0, |product| product.available());
        (wanted > available).then_some(Shortage { product_id, wanted, available })
    }
}

/// Several lines may ask for the same product.
fn quantities(items: &[Item]) -> BTreeMap<ProductId, u64> {
    let mut quantities = BTreeMap::new();
    for item in items {
        *quantities.entry(item.product_id).or_default() += u64::from(item.quantity);
    }
    quantities
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Money;
    use uuid::Uuid;

    const PENS: Uuid = Uuid::from_u128(1);
    const INK: Uuid = Uuid::from_u128(2);

    fn item(product_id: ProductId, quantity: u32) -> Item {
        Item { product_id, quantity, unit_price: Money::ZERO }
    }

    fn shelf() -> Shelf {
        let products = [(PENS, 10, 4), (INK, 1, 1)];
        let products = products.map(|(id, total, reserved)| (id, Product { total, reserved }));
        Shelf { products: products.into(), ..Shelf::default() }
    }

    #[test]
    fn lines_for_one_product_are_one_wish() {
        let after = shelf().reserve(&[item(PENS, 2), item(PENS, 4)]).unwrap();
        assert_eq!(after.products[&PENS].reserved, 10);
        assert!(shelf().reserve(&[item(PENS, 3), item(PENS, 4)]).is_err());
    }

    #[test]
    fn its_states_have_the_names_that_others_know() {
        assert_eq!(Status::ALL.map(Status::name), ["RESERVED", "RELEASED"]);
    }

    #[test]
    fn all_or_nothing() {
        let short = shelf().reserve(&[item(PENS, 1), item(INK, 1)]).unwrap_err();
        assert_eq!(short, [Shortage { product_id: INK, wanted: 1, available: 0 }]);
    }

    #[test]
    fn what_is_put_back_can_be_put_back_once() {
        let reserved = shelf().reserve(&[item(PENS, 6)]).unwrap();
        let released = reserved.release().unwrap();
        assert_eq!(released.products, shelf().products);
        assert_eq!(released.release(), None);
    }
}
