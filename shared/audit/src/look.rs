//! Looks at all orders, part by part, and once more at those that break an invariant.

use std::collections::BTreeMap;
use std::mem::take;

use anyhow::Result;
use events::OrderId;
use serde::Serialize;

use crate::pass::{Events, Pass, add_seen, by_id, none_seen, parts};
use crate::{
    Held, Quiet, Readers, Scope, Snapshot, Sources, Stranded, Told, Violation, check_orders,
    check_whole, sorted, stranded,
};

/// How much was checked.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    pub orders: usize,
    pub orders_by_status: BTreeMap<&'static str, usize>,
    pub facts: usize,
    pub payments: usize,
    pub reservations: usize,
    pub shipments: usize,
    pub idempotency_keys: usize,
    pub queues: usize,
}

/// What was found, once if nothing moved meanwhile, and once if anything did.
#[derive(Default)]
pub struct Look {
    /// What belongs to no order.
    pub whole: Snapshot,
    pub checked: Checked,
    pub stranded: BTreeMap<OrderId, Stranded>,
    held: Held,
    quiet: Vec<Violation>,
    moving: Vec<Violation>,
    /// The orders with violations.
    suspects: Events,
}

impl Look {
    /// At everything.
    pub async fn at(
        sources: &mut Sources,
        readers: &Readers,
        told: &Told,
        mut news: impl FnMut(&str),
    ) -> Result<Self> {
        let mut look = Self::default();
        sources.databases.begin().await?;
        look.whole.products = sources.databases.products(readers).await?;
        sources.read_letters(&mut look.whole).await?;
        let mut pass = Pass::down_to(OrderId::nil());
        while let Some((scope, part)) = pass.next(&mut sources.databases, readers).await? {
            look.checked.add(&part);
            look.held.add(&part, |_| true);
            look.check(sources, readers, &scope, part, told).await?;
            news(&format!("orders read: {}", look.checked.orders));
        }
        look.checked.idempotency_keys = pass.handled;
        look.again(sources, readers, told, pass.rest()).await?;
        sources.databases.end().await?;
        look.checked.queues = look.whole.queues.len();
        Ok(look)
    }

    /// At the orders with violations, and at the queues.
    pub async fn second(
        &mut self,
        sources: &mut Sources,
        readers: &Readers,
        told: &Told,
    ) -> Result<()> {
        sources.databases.begin().await?;
        sources.read_letters(&mut self.whole).await?;
        let suspects = take(&mut self.suspects);
        self.again(sources, readers, told, suspects).await?;
        sources.databases.end().await
    }

    pub fn violations(&self, quiet: Quiet) -> Vec<Violation> {
        let of_orders = if quiet == Quiet::Yes { &self.quiet } else { &self.moving };
        let mut found = check_whole(&self.whole, &self.held, quiet);
        found.extend_from_slice(of_orders);
        sorted(found)
    }

    /// Reads these orders by id; only what is found now counts.
    async fn again(
        &mut self,
        sources: &mut Sources,
        readers: &Readers,
        told: &Told,
        orders: Events,
    ) -> Result<()> {
        for orders in parts(orders) {
            let is_its = |order: OrderId| orders.contains_key(&order);
            self.stranded.retain(|order, _| !is_its(*order));
            for found in [&mut self.quiet, &mut self.moving] {
                found.retain(|found| !found.order_id.is_some_and(is_its));
            }
            let (scope, part) = by_id(&mut sources.databases, readers, &orders).await?;
            self.check(sources, readers, &scope, part, told).await?;
        }
        Ok(())
    }

    /// Finds the violations of these orders.
    async fn check(
        &mut self,
        sources: &mut Sources,
        readers: &Readers,
        scope: &Scope,
        mut part: Snapshot,
        told: &Told,
    ) -> Result<()> {
        part.told = told.of(scope);
        part.provider = sources.books(&part, scope).await?;
        self.lend(&mut part);
        self.stranded.extend(stranded(readers.add_ons, &part, &part.purged));
        let is_its = |found: &Violation| found.order_id.is_some_and(|order| scope.contains(order));
        let mut found = check_orders(readers.add_ons, &part, Quiet::Yes);
        found.retain(is_its);
        if !found.is_empty() {
            self.suspects.extend(none_seen(found.iter().filter_map(|found| found.order_id)));
            add_seen(&mut self.suspects, &part);
            self.moving
                .extend(check_orders(readers.add_ons, &part, Quiet::No).into_iter().filter(is_its));
            self.quiet.append(&mut found);
        }
        self.lend(&mut part);
        Ok(())
    }

    /// Gives the part what belongs to no order; or takes it back.
    fn lend(&mut self, part: &mut Snapshot) {
        let whole = &mut self.whole;
        std::mem::swap(&mut part.dead_letters, &mut whole.dead_letters);
        std::mem::swap(&mut part.purged, &mut whole.purged);
        std::mem::swap(&mut part.repaired, &mut whole.repaired);
        part.keys_kept_since = whole.keys_kept_since;
    }
}

impl Checked {
    pub fn add(&mut self, part: &Snapshot) {
        for order in &part.orders {
            *self.orders_by_status.entry(order.status.name()).or_default() += 1;
        }
        self.orders += part.orders.len();
        self.facts += part.orders.iter().map(|order| order.facts.len()).sum::<usize>();
        self.payments += part.payments.len();
        self.reservations += part.reservations.len();
        self.shipments += part.shipments.len();
    }
}
