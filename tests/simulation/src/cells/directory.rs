//! Maps a customer to a cell: by a stable hash to one of a fixed number of slots, and by a table
//! from the slot to its cell.

use super::allotment::CellId;
use crate::trace::Fnv;
use uuid::Uuid;

/// Never changes: a slot moves to another cell as a whole.
pub const SLOTS: usize = 1024;

pub struct Directory {
    slots: Vec<CellId>,
}

/// The same everywhere and for ever.
pub fn slot_of(customer_id: Uuid) -> usize {
    let mut hash = Fnv::default();
    hash.write(customer_id.as_bytes());
    (hash.value() % SLOTS as u64) as usize
}

impl Directory {
    /// Each cell has its part of the slots.
    pub fn of(parts: &[usize]) -> Self {
        let parts: Vec<CellId> =
            (0..).zip(parts).flat_map(|(cell, part)| vec![cell; *part]).collect();
        Self { slots: (0..SLOTS).map(|slot| parts[slot % parts.len()]).collect() }
    }

    pub fn cell_of(&self, customer_id: Uuid) -> CellId {
        self.slots[slot_of(customer_id)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_has_the_same_slot_for_ever() {
        let slots = [1, 2, 0x123e_4567].map(|id| slot_of(Uuid::from_u128(id)));
        assert_eq!(slots, [690, 255, 177]);
    }

    #[test]
    fn customers_spread_evenly_over_cells() {
        let directory = Directory::of(&[1, 1, 1, 1]);
        let mut customers = [0; 4];
        for id in 0..10_000 {
            customers[usize::from(directory.cell_of(Uuid::from_u128(id)))] += 1;
        }
        assert!(customers.iter().all(|count| (2_300..2_700).contains(count)), "{customers:?}");
    }

    #[test]
    fn a_moved_slot_moves_its_customers_and_no_others() {
        let mut directory = Directory::of(&[3, 1]);
        let all: Vec<_> = (0..5_000).map(Uuid::from_u128).collect();
        let before: Vec<_> = all.iter().map(|id| directory.cell_of(*id)).collect();
        let slot = slot_of(all[0]);
        directory.slots[slot] = 7;
        for (id, before) in all.into_iter().zip(before) {
            let wanted = if slot_of(id) == slot { 7 } else { before };
            assert_eq!(directory.cell_of(id), wanted);
        }
    }
}
