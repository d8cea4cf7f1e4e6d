//! Who has ended? The service tells of each that it brings to its end; whoever it has not told of
//! for a while is asked for alone, since another process may have done it.

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
/// Of those nobody has told of, so many are asked for at a time.
const ASK_MAX: usize = 20;
/// Endings that are kept for who has not yet heard that his order is placed.
const EARLY_MAX: usize = 10_000;

pub struct Board {
    /// One a copy of the service: each tells of what it ends itself.
    apis: Vec<Api>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<OrderId, Waiting>,
    /// Ended before anybody asked.
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

    /// The status in which the order ends, as soon as it has.
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

    /// Listens and asks for as long as it is let.
    pub async fn watch(self: Arc<Self>) {
        tokio::join!(join_all(self.apis.iter().map(|api| self.listen(api))), self.ask());
    }

    async fn listen(&self, api: &Api) {
        loop {
            // A service that is away just now is nothing to tell: those who place orders notice.
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

    /// Any copy knows of any order.
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
            // Who has lost his patience does not listen any more.
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
