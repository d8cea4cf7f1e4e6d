//! Who has ended? One look at the newest orders tells of all that are in flight, at a fraction of
//! what asking for each would cost the service; what is too old for the list is asked for alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events::OrderId;
use invariants::OrderStatus;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use crate::api::{Api, ApiError, Brief, Filter, Page};

/// As precise as the times until the end are.
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// Looking takes a fifth of the time at most.
const REST_TO_LOOK: u32 = 4;
const PAGE_MAX: usize = 200;
/// Of those too old for the list, so many are asked for at each look.
const SINGLE_MAX: usize = 10;

pub struct Board {
    api: Api,
    in_flight: usize,
    waiting: Mutex<HashMap<OrderId, Waiting>>,
    news: Notify,
}

struct Waiting {
    tell: oneshot::Sender<String>,
    looked_at: Instant,
}

impl Board {
    pub fn new(api: Api, in_flight: usize) -> Self {
        Self { api, in_flight, waiting: Mutex::default(), news: Notify::new() }
    }

    /// The status in which the order ends, as soon as it has.
    pub async fn final_status(&self, order: OrderId) -> String {
        let (tell, told) = oneshot::channel();
        self.lock().insert(order, Waiting { tell, looked_at: Instant::now() });
        self.news.notify_one();
        match told.await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        }
    }

    pub fn forget(&self, order: OrderId) {
        self.lock().remove(&order);
    }

    /// Looks for as long as it is let.
    pub async fn watch(self: std::sync::Arc<Self>) {
        loop {
            while self.lock().is_empty() {
                self.news.notified().await;
            }
            let began = Instant::now();
            // A service that is away just now is nothing to tell: those who place orders notice.
            let _ = self.look().await;
            sleep(LOOK_EVERY.max(began.elapsed() * REST_TO_LOOK)).await;
        }
    }

    async fn look(&self) -> Result<(), ApiError> {
        let mut missing = self.lock().len();
        let limit = (self.in_flight + self.in_flight / 4 + 4).min(PAGE_MAX);
        let pages = self.in_flight.div_ceil(PAGE_MAX) + 1;
        let mut filter = Filter { limit: Some(limit), ..Filter::default() };
        for _ in 0..pages {
            let page: Page<Brief> = self.api.list(&filter).await?.read()?;
            for order in &page.orders {
                missing = missing.saturating_sub(usize::from(self.saw(order)));
            }
            filter.cursor = page.next_cursor;
            if missing == 0 || filter.cursor.is_none() {
                break;
            }
        }
        for order in self.longest_unseen(SINGLE_MAX) {
            self.saw(&self.api.order(order).await?.read()?);
        }
        Ok(())
    }

    /// Whether anybody waits for this order.
    fn saw(&self, order: &Brief) -> bool {
        let mut waiting = self.lock();
        let Some(entry) = waiting.get_mut(&order.order_id) else { return false };
        entry.looked_at = Instant::now();
        if order.status.parse().is_ok_and(OrderStatus::is_final)
            && let Some(entry) = waiting.remove(&order.order_id)
        {
            // Who has lost his patience does not listen any more.
            let _ = entry.tell.send(order.status.clone());
        }
        true
    }

    /// Those that the list did not show for a second.
    fn longest_unseen(&self, max: usize) -> Vec<OrderId> {
        let waiting = self.lock();
        let unseen = waiting.iter().map(|(order, entry)| (entry.looked_at, *order));
        let mut unseen: Vec<_> =
            unseen.filter(|(at, _)| at.elapsed() > Duration::from_secs(1)).collect();
        unseen.sort_unstable();
        unseen.into_iter().take(max).map(|(_, order)| order).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
