//! Builds the snapshot of the whole system that the invariants check.

use crate::{
    cells::store::BEYOND,
    disk::Disk,
    fleet::{Fleet, INVENTORY, ORDER, PAYMENT, SHIPPING},
    stores::payment::Row,
};
use audit::{
    DeadLetter, Digest, Fact, Handled, Order, Payment, Product, Reservation, Shipment, Snapshot,
    Unsent, name,
};
use events::{Event, PaymentApproved, PaymentReversed, SERVICES};
use messaging::{Message, QueueShape, header};
use std::{fmt::Debug, str::FromStr};

impl Fleet {
    pub async fn is_quiet(&self) -> bool {
        let is_final = |view: &order::View| view.order.status().is_final();
        self.provider.is_quiet()
            && self.waiting_queues().all(|queue| self.broker.depth(queue) == 0)
            && self
                .orders
                .tables
                .look(|orders| orders.rows.values().all(|row| is_final(&row.view)))
                .await
            && self.orders.tables.unsent().await.is_empty()
            && self.payments.tables.unsent().await.is_empty()
            && self.stock.tables.unsent().await.is_empty()
            && self.shipments.tables.unsent().await.is_empty()
            && self.payments.tables.look(|rows| rows.values().all(Row::is_at_rest)).await
    }

    /// All but the state of customers and gremlins.
    pub async fn snapshot(&self) -> Snapshot {
        let mut snapshot =
            Snapshot { provider: Some(self.provider.books()), ..Snapshot::default() };
        snapshot.orders =
            self.orders.tables.data().await.rows.values().map(|row| order(&row.view)).collect();
        for row in self.payments.tables.data().await.values() {
            snapshot.payments.push(payment(&row.charge));
        }
        let stock = self.stock.tables.data().await;
        snapshot.products.extend(stock.products.iter().map(|(id, product)| Product {
            id: *id,
            total: signed(product.total),
            reserved: signed(product.reserved),
        }));
        snapshot.reservations.extend(stock.reservations.iter().map(|(order, held)| Reservation {
            order_id: *order,
            status: same(held.status.name()),
            items: held.quantities.iter().map(|(id, count)| (*id, signed(*count))).collect(),
        }));
        snapshot.refusals.extend(&stock.refused);
        for (order_id, dispatch) in self.shipments.tables.data().await {
            snapshot.cancel_marks.extend(dispatch.cancel_marked.then_some(order_id));
            snapshot.shipments.extend(dispatch.shipment.map(|shipment| Shipment {
                order_id,
                status: same(shipment.status.name()),
                tracking_code: shipment.tracking_code,
            }));
        }
        self.read(ORDER, &self.orders, &mut snapshot).await;
        self.read(PAYMENT, &self.payments, &mut snapshot).await;
        self.read(INVENTORY, &self.stock, &mut snapshot).await;
        self.read(SHIPPING, &self.shipments, &mut snapshot).await;
        self.read_broker(&mut snapshot);
        snapshot
    }

    /// The tables that every service has; of transfers between cells an audit knows nothing.
    async fn read<D>(&self, place: usize, disk: &Disk<D>, snapshot: &mut Snapshot)
    where
        D: Clone + Default + Send + Sync + 'static,
    {
        let is_saga =
            |event: &str| place != INVENTORY || self.depot.is_none() || !BEYOND.contains(&event);
        let handled = disk.tables.handled().await.into_iter();
        let handled = handled.filter(|row| is_saga(row.event)).map(|row| Handled {
            event_id: row.event_id,
            event: name(row.event),
            order_id: row.order_id,
            digest: short(&row.digest),
        });
        snapshot.handled.insert(SERVICES[place].into(), handled.collect());
        let unsent = disk.tables.unsent().await.into_iter();
        let unsent = unsent.filter(|event| is_saga(&event.event)).map(|event| Unsent {
            event_id: event.id,
            event: name(&event.event),
            order_id: event.order_id,
            digest: short(&event.publication().message.digest()),
        });
        snapshot.outboxes.insert(SERVICES[place].into(), unsent.collect());
    }

    fn read_broker(&self, snapshot: &mut Snapshot) {
        for (queue, shape) in &self.queues {
            if *shape == QueueShape::Parked {
                let letters = self.broker.messages(queue).into_iter();
                snapshot.dead_letters.extend(letters.map(|letter| dead_letter(queue, &letter)));
            } else {
                let depth = self.broker.depth(queue) as u64;
                snapshot.queues.insert(queue.clone(), depth);
            }
        }
    }
}

fn order(view: &order::View) -> Order {
    let facts = view.order.timeline().iter().map(|fact| {
        let money = [PaymentApproved::NAME, PaymentReversed::NAME].contains(&fact.event);
        Fact {
            event: name(fact.event),
            event_id: fact.event_id,
            caused_by: fact.caused_by,
            reason: fact.detail["reason"].as_str().map(Into::into),
            amount: money.then(|| fact.detail["amount"].to_string().parse().ok()).flatten(),
        }
    });
    Order {
        id: view.id,
        status: same(view.order.status().name()),
        total: view.total_amount.decimal(),
        facts: facts.collect(),
    }
}

fn payment(charge: &payment::Charge) -> Payment {
    Payment {
        order_id: charge.order_id,
        status: same(charge.status.name()),
        amount: charge.amount.decimal(),
        attempts: charge.attempts,
        provider_ref: charge.provider_ref.clone(),
        refund_ref: charge.refund_ref.clone(),
    }
}

fn dead_letter(queue: &str, letter: &Message) -> DeadLetter {
    DeadLetter {
        queue: queue.into(),
        message_id: letter.id.clone(),
        order_id: letter.correlation_id.as_ref().and_then(|id| id.parse().ok()),
        event: letter.kind.clone(),
        reason: letter.text(header::REASON),
        digest: letter.digest().try_into().ok(),
    }
}

/// The same state, by its name.
fn same<T: FromStr<Err: Debug>>(name: &str) -> T {
    name.parse().expect("services and invariants know the same states")
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn short(digest: &[u8]) -> Digest {
    digest.try_into().expect("half of a SHA-256")
}
