//! Decides how cells share the stock of a product: when a cell asks the others for pieces, how many
//! each gives, and what proves that they have none. Pure; the plan for inventory, not yet part of
//! it.

use chrono::{DateTime, TimeDelta, Utc};
use events::{Event, OrderId, ProductId};
use inventory::Product;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type CellId = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub id: CellId,
    /// The number of all cells.
    pub cells: u16,
}

/// A cell asks all others for pieces of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllotmentAsked {
    pub product_id: ProductId,
    pub from: CellId,
    pub round: u64,
    /// The pieces that its waiting orders lack; zero where it only runs low.
    pub missing: u64,
    /// The oldest of its waiting orders.
    pub oldest: Option<OrderId>,
    pub free: u64,
    pub rate: u64,
}

/// A cell gives another cell pieces, or tells it that there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllotmentMoved {
    pub product_id: ProductId,
    pub from: CellId,
    pub to: CellId,
    pub round: u64,
    pub quantity: u64,
    pub remains: Remains,
}

/// The giver's free pieces after it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remains {
    Some,
    Nothing,
    /// An older order waits there for this product.
    Promised,
}

impl Event for AllotmentAsked {
    const NAME: &'static str = "allotment.asked";

    fn order_id(&self) -> OrderId {
        self.product_id
    }
}

impl Event for AllotmentMoved {
    const NAME: &'static str = "allotment.moved";

    fn order_id(&self) -> OrderId {
        self.product_id
    }
}

/// A cell's stock of one product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Inventory's row: its total is the allotment.
    pub product: Product,
    pub account: Account,
}

/// A cell's row of a product beside inventory's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Pieces that went to other cells, and that came from them, since the first.
    pub given: u64,
    pub received: u64,
    /// Pieces reserved since the last tick.
    pub sold: u64,
    /// A decaying average: `PIECE` for one piece each tick.
    pub rate: u64,
    pub round: Round,
}

/// The last time that this cell asked the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub number: u64,
    pub began: Option<DateTime<Utc>>,
    /// Orders waited: each cell answers, also with nothing.
    pub is_urgent: bool,
    pub answers: BTreeMap<CellId, Remains>,
}

/// The orders that wait here for a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub missing: u64,
    pub oldest: Option<OrderId>,
}

/// The time between two decisions of a cell on its own.
pub const TICK: TimeDelta = TimeDelta::seconds(1);
const PIECE: u64 = 128;
/// A cell runs low when it has less than it sells in so many ticks.
const COVER_TICKS: u64 = 10;
/// Between two requests that are not urgent.
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// What the others said counts for so long. Below `STARVATION_MAX`, by more than a transaction may
/// take.
const ROUND_MAX: TimeDelta = TimeDelta::seconds(25);

impl Share {
    pub const fn free(&self) -> u64 {
        self.product.total.saturating_sub(self.product.reserved)
    }

    /// Another cell asks. The older order has priority, so that two cells never exchange the last
    /// pieces for ever.
    pub fn asked(
        mut self,
        asked: &AllotmentAsked,
        waiting: Waiting,
        cell: Cell,
    ) -> (Self, Option<AllotmentMoved>) {
        let is_promised = match (waiting.oldest, asked.oldest) {
            (Some(here), Some(there)) => here < there,
            (here, _) => here.is_some(),
        };
        let wanted = asked.missing.max(self.surplus(asked, cell));
        let quantity = if is_promised { 0 } else { wanted.min(self.free()) };
        if quantity == 0 && asked.missing == 0 {
            return (self, None);
        }
        self.product.total -= quantity;
        self.account.given += quantity;
        let remains = match self.free() {
            _ if is_promised => Remains::Promised,
            0 => Remains::Nothing,
            _ => Remains::Some,
        };
        let AllotmentAsked { product_id, from: to, round, .. } = *asked;
        let moved = AllotmentMoved { product_id, from: cell.id, to, round, quantity, remains };
        (self, Some(moved))
    }

    /// Another cell answers: its pieces count whatever they answer.
    #[must_use]
    pub fn moved(mut self, moved: &AllotmentMoved) -> Self {
        self.product.total += moved.quantity;
        self.account.received += moved.quantity;
        let round = &mut self.account.round;
        if moved.round == round.number {
            round.answers.insert(moved.from, moved.remains);
        }
        self
    }

    /// Time passes: the cell asks where orders wait, or where it runs low.
    pub fn tick(
        mut self,
        product_id: ProductId,
        waiting: Waiting,
        now: DateTime<Utc>,
        cell: Cell,
    ) -> (Self, Option<AllotmentAsked>) {
        let free = self.free();
        let Account { sold, rate, round, .. } = &mut self.account;
        *rate = *rate - rate.div_ceil(8) + *sold * PIECE / 8;
        *sold = 0;
        let age = round.began.map_or(TimeDelta::MAX, |began| now - began);
        let is_urgent = waiting.missing > 0;
        let is_due = if is_urgent {
            !round.is_urgent || round.is_answered(cell) || age > ROUND_MAX
        } else {
            free * PIECE < *rate * COVER_TICKS && age > PAUSE
        };
        if !is_due || cell.cells == 1 {
            return (self, None);
        }
        let number = round.number + 1;
        *round = Round { number, began: Some(now), is_urgent, answers: BTreeMap::new() };
        let Waiting { missing, oldest } = waiting;
        let (from, rate) = (cell.id, *rate);
        let asked = AllotmentAsked { product_id, from, round: number, missing, oldest, free, rate };
        (self, Some(asked))
    }

    /// What this cell has beyond the same cover as the one that asks, for each that may give.
    fn surplus(&self, asked: &AllotmentAsked, cell: Cell) -> u64 {
        let here = u128::from(self.account.rate) + 1;
        let there = u128::from(asked.rate) + 1;
        let ahead = (u128::from(self.free()) * there).saturating_sub(u128::from(asked.free) * here)
            / (here + there);
        u64::try_from(ahead).unwrap_or(u64::MAX) / u64::from(cell.cells - 1).max(1)
    }
}

impl Round {
    fn is_answered(&self, cell: Cell) -> bool {
        self.answers.len() == usize::from(cell.cells - 1)
    }

    /// A wrong conclusion, which a mutant makes.
    pub fn silence_is_nothing(&mut self, now: DateTime<Utc>, cell: Cell) {
        if self.began.is_some_and(|began| now - began > TICK) {
            for other in (0..cell.cells).filter(|id| *id != cell.id) {
                self.answers.entry(other).or_insert(Remains::Nothing);
            }
        }
    }

    /// Within `ROUND_MAX` before now, each other cell had nothing, at one moment at least.
    pub fn proves_sold_out(&self, now: DateTime<Utc>, cell: Cell) -> bool {
        let is_recent = self.began.is_some_and(|began| now - began <= ROUND_MAX);
        let is_nothing = |remains: &Remains| *remains == Remains::Nothing;
        cell.cells == 1
            || (is_recent && self.is_answered(cell) && self.answers.values().all(is_nothing))
    }
}

#[cfg(test)]
mod tests;
