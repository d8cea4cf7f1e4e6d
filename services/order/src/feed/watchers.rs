//! Notifies the subscribers of single orders. An order without subscribers costs nothing.

use crate::order::Order;
use events::OrderId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// A subscriber to all orders gets only the latest ones.
const LATEST_MAX: usize = 64;

#[derive(Clone, Default)]
pub struct Watchers {
    watched: Arc<Mutex<Watched>>,
    all: Arc<watch::Sender<VecDeque<OrderId>>>,
}

/// The latest known state of each order; none while it is unknown.
type Watched = HashMap<OrderId, watch::Sender<Option<Arc<Order>>>>;

/// A subscription to one order, until it is dropped.
pub struct Watch {
    watchers: Watchers,
    order: OrderId,
    news: watch::Receiver<Option<Arc<Order>>>,
}

/// A subscription to all orders.
pub struct WatchAll {
    watchers: Watchers,
    news: watch::Receiver<VecDeque<OrderId>>,
}

impl Watchers {
    pub fn watch_all(&self) -> WatchAll {
        WatchAll { watchers: self.clone(), news: self.all.subscribe() }
    }

    pub fn watch(&self, order: OrderId) -> Watch {
        let news = self.lock().entry(order).or_default().subscribe();
        Watch { watchers: self.clone(), order, news }
    }

    /// Sends these orders, which have recorded new facts, to their subscribers.
    pub fn tell<'a>(&self, orders: impl Iterator<Item = (&'a OrderId, &'a Order)> + Clone) {
        if self.all.receiver_count() > 0 {
            self.all.send_modify(|latest| {
                latest.extend(orders.clone().map(|(id, _)| *id));
                let surplus = latest.len().saturating_sub(LATEST_MAX);
                latest.drain(..surplus);
            });
        }
        self.show(orders);
    }

    /// Sends only to subscribers of single orders.
    pub fn show<'a>(&self, orders: impl Iterator<Item = (&'a OrderId, &'a Order)>) {
        let watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for (sender, order) in orders.filter_map(|(id, order)| Some((watched.get(id)?, order))) {
            sender.send_if_modified(|known| {
                // A faster transaction may have sent more: facts are only ever added.
                let is_further = facts(known) < order.timeline().len();
                if is_further {
                    *known = Some(Arc::new(order.clone()));
                }
                is_further
            });
        }
    }

    /// The orders with subscribers, and the number of facts known of each.
    pub fn watched(&self) -> Vec<(OrderId, usize)> {
        self.lock().iter().map(|(id, sender)| (*id, facts(&sender.borrow()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn facts(known: &Option<Arc<Order>>) -> usize {
    known.as_ref().map_or(0, |order| order.timeline().len())
}

impl Watch {
    /// The order, once it has changed since the last call.
    pub async fn news(&mut self) -> Option<Arc<Order>> {
        // The sender lives as long as we do.
        let _ = self.news.changed().await;
        self.news.borrow_and_update().clone()
    }
}

impl WatchAll {
    pub async fn news(&mut self) {
        // The sender lives as long as we do.
        let _ = self.news.changed().await;
    }

    /// The latest changed orders since the last call.
    pub fn take(&mut self) -> Vec<OrderId> {
        let mut taken = VecDeque::new();
        self.watchers.all.send_if_modified(|latest| {
            taken = std::mem::take(latest);
            false
        });
        taken.into()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.watchers.lock();
        if watched.get(&self.order).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Fact;
    use chrono::DateTime;
    use events::{Event, EventId, InventoryReserved, PaymentApproved, ShippingScheduled};
    use futures::FutureExt;
    use serde_json::Value;

    fn after(events: u128) -> Order {
        let names = [PaymentApproved::NAME, InventoryReserved::NAME, ShippingScheduled::NAME];
        Order::new(names.into_iter().zip(0..events).map(|(event, number)| Fact {
            event,
            event_id: EventId::from_u128(number),
            at: DateTime::UNIX_EPOCH,
            caused_by: None,
            detail: Value::Null,
        }))
    }

    #[test]
    fn only_those_who_watch_the_order_are_told() {
        let (one, other) = (OrderId::from_u128(1), OrderId::from_u128(2));
        let watchers = Watchers::default();
        let (mut of_one, mut also, mut of_other) =
            (watchers.watch(one), watchers.watch(one), watchers.watch(other));
        watchers.tell([(&one, &after(1))].into_iter());
        assert!(of_one.news().now_or_never().flatten().is_some());
        assert!(also.news().now_or_never().flatten().is_some());
        assert!(of_one.news().now_or_never().is_none());
        assert!(of_other.news().now_or_never().is_none());
    }

    #[test]
    fn what_is_known_of_an_order_only_grows() {
        let order = OrderId::from_u128(1);
        let watchers = Watchers::default();
        let mut watch = watchers.watch(order);
        for facts in [2, 1, 2] {
            watchers.show([(&order, &after(facts))].into_iter());
        }
        assert_eq!(watchers.watched(), [(order, 2)]);
        assert_eq!(watch.news().now_or_never().flatten().as_deref(), Some(&after(2)));
        watchers.show([(&order, &after(2))].into_iter());
        assert!(watch.news().now_or_never().is_none());
    }

    #[test]
    fn who_watches_all_is_told_the_latest_once() {
        let (watchers, order) = (Watchers::default(), after(1));
        let ids: Vec<_> = (0..100).map(OrderId::from_u128).collect();
        let orders = || ids.iter().map(|id| (id, &order));
        watchers.tell(orders());
        let mut all = watchers.watch_all();
        assert!(all.take().is_empty(), "nobody watched then");
        watchers.tell(orders());
        assert!(all.news().now_or_never().is_some());
        assert_eq!(all.take(), ids[ids.len() - LATEST_MAX..]);
        assert!(all.take().is_empty() && all.news().now_or_never().is_none());
    }

    #[test]
    fn an_order_is_forgotten_with_its_last_watcher() {
        let order = OrderId::from_u128(1);
        let watchers = Watchers::default();
        let (first, second) = (watchers.watch(order), watchers.watch(order));
        drop(first);
        assert_eq!(watchers.lock().len(), 1);
        drop(second);
        assert!(watchers.lock().is_empty());
    }
}
