//! Inventory in a cell: the shipped reactions, but an order that is short waits while other cells
//! may have pieces.

use super::allotment::{Account, AllotmentAsked, AllotmentMoved, Cell, Share, Waiting};
use chrono::{DateTime, Utc};
use events::{InventoryFailed, OrderCancelRequested, PaymentApproved, ProductId, ShippingFailed};
use inventory::Shelf;
use reaction::{Decision, Heard, On, Said};
use std::{collections::BTreeMap, sync::Arc};

/// The state of an order, or of the product of a transfer.
#[derive(Clone, Debug)]
pub struct Depot {
    pub cell: Cell,
    pub shelf: Shelf,
    /// The approved payment of an order that waits for pieces.
    pub waits: Option<Arc<Heard<PaymentApproved>>>,
    /// The customer, or the order's deadline, wants it no more: it does not wait.
    pub cancelled: bool,
    /// Of the products that this decision touches.
    pub accounts: BTreeMap<ProductId, Account>,
    pub waiting: BTreeMap<ProductId, Waiting>,
}

impl On<PaymentApproved> for Depot {
    fn touches(event: &PaymentApproved) -> Vec<ProductId> {
        <Shelf as On<PaymentApproved>>::touches(event)
    }

    fn on(self, event: &Heard<PaymentApproved>) -> Decision<Self> {
        if self.waits.is_some() {
            return Decision::nothing();
        }
        let shipped = self.shelf.clone().on(event);
        if is_refusal(&shipped) && !self.cancelled && self.is_shared(event) {
            return Decision::to(Self { waits: Some(Arc::new(event.clone())), ..self });
        }
        self.with(shipped)
    }
}

impl On<ShippingFailed> for Depot {
    fn on(self, event: &Heard<ShippingFailed>) -> Decision<Self> {
        let shipped = self.shelf.clone().on(event);
        self.with(shipped)
    }
}

impl On<OrderCancelRequested> for Depot {
    fn on(self, _: &Heard<OrderCancelRequested>) -> Decision<Self> {
        Decision::to(Self { cancelled: true, ..self })
    }
}

impl On<AllotmentAsked> for Depot {
    fn touches(event: &AllotmentAsked) -> Vec<ProductId> {
        vec![event.product_id]
    }

    fn on(self, event: &Heard<AllotmentAsked>) -> Decision<Self> {
        if event.from == self.cell.id {
            return Decision::nothing();
        }
        let waiting = self.waiting.get(&event.product_id).copied().unwrap_or_default();
        let (share, moved) = self.share(event.product_id).asked(event, waiting, self.cell);
        match moved {
            Some(moved) => Decision::to(self.put(event.product_id, share)).and_say(&moved),
            None => Decision::nothing(),
        }
    }
}

impl On<AllotmentMoved> for Depot {
    fn touches(event: &AllotmentMoved) -> Vec<ProductId> {
        vec![event.product_id]
    }

    fn on(self, event: &Heard<AllotmentMoved>) -> Decision<Self> {
        if event.to != self.cell.id {
            return Decision::nothing();
        }
        let share = self.share(event.product_id).moved(event);
        Decision::to(self.put(event.product_id, share))
    }
}

impl Depot {
    /// Decides on an order that waits; nothing while it has to wait on.
    pub fn decide(self, now: DateTime<Utc>) -> Decision<Self> {
        let Some(event) = self.waits.clone() else {
            return Decision::nothing();
        };
        let shipped = self.shelf.clone().on(&event);
        if is_refusal(&shipped) && !self.cancelled && !self.is_sold_out(&shipped, now) {
            return Decision::nothing();
        }
        Self { waits: None, ..self }.with(shipped)
    }

    /// Whether other cells may have pieces of all its products.
    fn is_shared(&self, event: &PaymentApproved) -> bool {
        let is_known = |id| self.shelf.products.contains_key(id);
        self.cell.cells > 1 && event.items.iter().all(|item| is_known(&item.product_id))
    }

    /// Nowhere is enough of one of its products.
    fn is_sold_out(&self, refusal: &Decision<Shelf>, now: DateTime<Utc>) -> bool {
        let Decision::Change { says, .. } = refusal else { return false };
        let short = says.iter().filter_map(Said::read::<InventoryFailed>);
        let mut short = short.flat_map(|failed| failed.short);
        short.any(|short| {
            let account = self.accounts.get(&short.product_id);
            account.is_some_and(|account| account.round.proves_sold_out(now, self.cell))
        })
    }

    fn share(&self, id: ProductId) -> Share {
        let product = self.shelf.products.get(&id).copied().unwrap_or_default();
        Share { product, account: self.accounts.get(&id).cloned().unwrap_or_default() }
    }

    fn put(mut self, id: ProductId, Share { product, account }: Share) -> Self {
        self.shelf.products.insert(id, product);
        self.accounts.insert(id, account);
        self
    }

    /// Takes over a decision as shipped, and counts what it sells.
    fn with(mut self, shipped: Decision<Shelf>) -> Decision<Self> {
        match shipped {
            Decision::Nothing => Decision::Nothing,
            Decision::Impossible(reason) => Decision::Impossible(reason),
            Decision::Change { state, says } => {
                for (id, product) in &state.products {
                    let before = self.shelf.products.get(id).map_or(0, |before| before.reserved);
                    self.accounts.entry(*id).or_default().sold +=
                        product.reserved.saturating_sub(before);
                }
                Decision::Change { state: Self { shelf: state, ..self }, says }
            }
        }
    }
}

fn is_refusal(decision: &Decision<Shelf>) -> bool {
    matches!(decision, Decision::Change { state, .. } if state.refused)
}
