//! Inventory's tables, and those that only a cell has.

use crate::{cells::store::DepotTables, disk::Tx};
use events::ProductId;
use memory_stores::{Tables, inventory::Stock as Goods};
use std::ops::{Deref, DerefMut};

#[derive(Clone, Default)]
pub struct Stock {
    pub goods: Goods,
    /// Empty without cells.
    pub depot: DepotTables,
}

impl Stock {
    pub fn of(totals: impl IntoIterator<Item = (ProductId, u64)>) -> Self {
        Self { goods: Goods::of(totals), depot: DepotTables::default() }
    }
}

impl Deref for Stock {
    type Target = Goods;

    fn deref(&self) -> &Goods {
        &self.goods
    }
}

impl DerefMut for Stock {
    fn deref_mut(&mut self) -> &mut Goods {
        &mut self.goods
    }
}

impl Tables<Goods> for Tx<Stock> {
    fn data(&mut self) -> &mut Goods {
        &mut Tx::data(self).goods
    }
}
