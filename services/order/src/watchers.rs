//! Who waits for news of an order, in this process. Waking costs nothing for orders nobody watches.

use events::OrderId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Whoever watches all of them is told of no more than the latest.
const LATEST_MAX: usize = 64;

#[derive(Clone, Default)]
pub struct Watchers {
    watched: Arc<Mutex<HashMap<OrderId, watch::Sender<()>>>>,
    all: Arc<watch::Sender<VecDeque<OrderId>>>,
}

/// Holds its order watched for as long as it lives.
pub struct Watch {
    watchers: Watchers,
    order: OrderId,
    news: watch::Receiver<()>,
}

/// Holds all orders watched, for the one who watches all.
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

    pub fn wake<'a>(&self, orders: impl IntoIterator<Item = &'a OrderId> + Clone) {
        if self.all.receiver_count() > 0 {
            self.all.send_modify(|latest| {
                latest.extend(orders.clone());
                let surplus = latest.len().saturating_sub(LATEST_MAX);
                latest.drain(..surplus);
            });
        }
        let watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for sender in orders.into_iter().filter_map(|order| watched.get(order)) {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Something has happened since this was last asked.
    pub async fn news(&mut self) {
        // The sender lives as long as we do.
        let _ = self.news.changed().await;
    }
}

impl WatchAll {
    pub async fn news(&mut self) {
        // The sender lives as long as we do.
        let _ = self.news.changed().await;
    }

    /// The latest that have changed since this was last asked.
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
    use futures::FutureExt;

    #[test]
    fn only_those_who_watch_the_order_are_woken() {
        let (one, other) = (OrderId::from_u128(1), OrderId::from_u128(2));
        let watchers = Watchers::default();
        let (mut of_one, mut also, mut of_other) =
            (watchers.watch(one), watchers.watch(one), watchers.watch(other));
        watchers.wake(&[one]);
        assert!(of_one.news().now_or_never().is_some());
        assert!(also.news().now_or_never().is_some());
        assert!(of_one.news().now_or_never().is_none());
        assert!(of_other.news().now_or_never().is_none());
    }

    #[test]
    fn who_watches_all_is_told_the_latest_once() {
        let watchers = Watchers::default();
        let orders: Vec<_> = (0..100).map(OrderId::from_u128).collect();
        watchers.wake(&orders);
        let mut all = watchers.watch_all();
        assert!(all.take().is_empty(), "nobody watched then");
        watchers.wake(&orders);
        assert!(all.news().now_or_never().is_some());
        assert_eq!(all.take(), orders[orders.len() - LATEST_MAX..]);
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
