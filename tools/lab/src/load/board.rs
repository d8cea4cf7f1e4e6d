//! Watches for orders that end. The service streams the endings of its own process; an order that
//! has not appeared for a while is polled, since another process may have ended it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit::OrderStatus;
use events::OrderId;
use futures::future::join_all;
use kit::api::{Api, ApiError, Brief};
use tokio::sync::oneshot;
use tokio::time::sleep;

const ASK_AFTER: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Orders without a streamed ending are polled in groups of this size.
const ASK_MAX: usize = 20;
/// Endings that are kept for orders whose answer 201 has not arrived yet.
const EARLY_MAX: usize = 10_000;

pub struct Board {
    /// One per copy of the service: each streams the endings of its own process.
    apis: Vec<Api>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<OrderId, Waiting>,
    /// Orders that ended before they were waited for.
    early: HashMap<OrderId, String>,
    early_first: VecDeque<OrderId>,
}

struct Waiting {
    tell: oneshot::Sender<String>,
    looked_at: Instant,
}

impl Board {
    pub fn new(apis: Vec<Api>) -> Self {
        Self { apis, open: Mutex::default() }
    }

    /// The order's final status, as soon as it is known.
    pub async fn final_status(&self, order: OrderId) -> String {
        let told = {
            let mut open = self.lock();
            if let Some(status) = open.early.remove(&order) {
                return status;
            }
            let (tell, told) = oneshot::channel();
            open.waiting.insert(order, Waiting { tell, looked_at: Instant::now() });
            told
        };
        match told.await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        }
    }

    pub fn forget(&self, order: OrderId) {
        self.lock().waiting.remove(&order);
    }

    /// Listens and polls until it is dropped.
    pub async fn watch(self: Arc<Self>) {
        tokio::join!(join_all(self.apis.iter().map(|api| self.listen(api))), self.ask());
    }

    async fn listen(&self, api: &Api) {
        loop {
            // A service that is down is not reported here: the placing of orders notices it.
            if let Ok(mut endings) = api.endings().await {
                while let Ok(ended) = endings.next().await {
                    ended.into_iter().for_each(|order| self.ended(order));
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self) {
        loop {
            sleep(ASK_EVERY).await;
            for order in self.longest_unseen() {
                let _ = self.ask_for(order).await;
            }
        }
    }

    /// Every copy knows every order.
    async fn ask_for(&self, id: OrderId) -> Result<(), ApiError> {
        let order: Brief = self.apis[0].order(id).await?.read()?;
        if order.status.parse().is_ok_and(OrderStatus::is_final) {
            self.ended(order);
        } else if let Some(waiting) = self.lock().waiting.get_mut(&id) {
            waiting.looked_at = Instant::now();
        }
        Ok(())
    }

    fn ended(&self, Brief { order_id, status }: Brief) {
        let mut open = self.lock();
        if let Some(waiting) = open.waiting.remove(&order_id) {
            // The receiver is gone after a time-out.
            let _ = waiting.tell.send(status);
            return;
        }
        open.early.insert(order_id, status);
        open.early_first.push_back(order_id);
        if open.early_first.len() > EARLY_MAX
            && let Some(first) = open.early_first.pop_front()
        {
            open.early.remove(&first);
        }
    }

    fn longest_unseen(&self) -> Vec<OrderId> {
        let open = self.lock();
        let unseen = open.waiting.iter().map(|(order, waiting)| (waiting.looked_at, *order));
        let mut unseen: Vec<_> = unseen.filter(|(at, _)| at.elapsed() > ASK_AFTER).collect();
        unseen.sort_unstable();
        unseen.into_iter().take(ASK_MAX).map(|(_, order)| order).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
