//! Places orders with one system, and watches its orders table until each of them is final.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kit::api::{Api, Brief};
use kit::scenario::Scenario;
use messaging::{Env, SystemEnv};
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use uuid::Uuid;

use crate::load::{Goods, Latency};

/// Orders that are not final, in the closed loop.
pub const IN_FLIGHT: usize = 64;
/// Orders rarely want the same product at once.
pub const GOODS: Goods = Goods::Spread(PRODUCTS as u32);
const PRODUCTS: usize = 1000;
const LOOK_EVERY: Duration = Duration::from_millis(2);
const OPENS_WITHIN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Shop {
    http: Client,
    door: Door,
    /// Reads order's database.
    reader: PgConnection,
    /// The status of each order that was placed so far, and must be in the end.
    pub placed: HashMap<&'static str, i64>,
}

/// Where orders are placed.
#[derive(Clone)]
pub enum Door {
    Quadrille(Api),
    /// With an order as `tools/peers` has it; `{id}` stands for its id.
    Peer(String),
}

#[derive(Clone, Copy)]
pub struct Load {
    /// Each is ordered in turn.
    scenarios: &'static [Scenario],
    orders: usize,
    /// Orders a second; as many as possible where none is given.
    rate: Option<u32>,
}

pub struct Sold {
    pub took: Duration,
    /// From the moment at which an order was due.
    pub latency: Latency,
}

struct Placed {
    order: Uuid,
    since: Instant,
    scenario: Scenario,
    _slot: OwnedSemaphorePermit,
}

impl Load {
    pub const fn closed(orders: usize) -> Self {
        Self { scenarios: &[Scenario::Confirmed], orders, rate: None }
    }

    pub fn open(rate: u32, length: Duration) -> Self {
        let orders = (f64::from(rate) * length.as_secs_f64()).max(1.0) as usize;
        Self { rate: Some(rate), ..Self::closed(orders) }
    }

    /// Orders that are undone: they check the system, and are not measured.
    pub const fn undone(orders: usize) -> Self {
        Self { scenarios: &[Scenario::SoldOut, Scenario::Declined], ..Self::closed(orders) }
    }
}

impl Shop {
    pub async fn new(door: Door, orders: &str) -> Result<Self> {
        let mut reader = PgConnection::connect(orders).await?;
        // The plan of a statement that first saw an empty table would stay a scan.
        reader.execute("SET enable_seqscan = off").await?;
        let http = https::plain().no_proxy().build()?;
        Ok(Self { http, door, reader, placed: HashMap::new() })
    }

    /// Returns once an order has been accepted, and has ended.
    pub async fn open(&mut self) -> Result<()> {
        let deadline = Instant::now() + OPENS_WITHIN;
        while let Err(error) = self.sell(Load::closed(1)).await {
            if Instant::now() >= deadline {
                return Err(error.context(format!("no order is accepted in {OPENS_WITHIN:?}")));
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    pub async fn sell(&mut self, load: Load) -> Result<Sold> {
        let (tell, mut told) = mpsc::unbounded_channel();
        // Dropping it ends what still places orders.
        let mut placing = JoinSet::new();
        placing.spawn(place_all(self.http.clone(), self.door.clone(), load, tell));
        let (begin, mut progress, mut ended) = (Instant::now(), Instant::now(), 0);
        let (mut latency, mut open) = (Latency::default(), HashMap::new());
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while ended < load.orders {
            tokio::select! {
                Some(placed) = told.recv() => {
                    let placed: Placed = placed?;
                    *self.placed.entry(placed.scenario.ends().name()).or_default() += 1;
                    open.insert(placed.order, placed);
                }
                _ = look.tick() => {
                    for (order, status) in self.ended(open.keys().copied().collect()).await? {
                        let Some(placed) = open.remove(&order) else { continue };
                        let wanted = placed.scenario.ends().name();
                        ensure!(status == wanted, "order {order} ends {status}, not {wanted}");
                        latency.add(placed.since.elapsed());
                        (ended, progress) = (ended + 1, Instant::now());
                    }
                    let left = load.orders - ended;
                    ensure!(progress.elapsed() < PATIENCE, "{left} orders do not end");
                }
            }
        }
        Ok(Sold { took: begin.elapsed(), latency })
    }

    async fn ended(&mut self, orders: Vec<Uuid>) -> Result<Vec<(Uuid, String)>> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let found = sqlx::query_as(match self.door {
            Door::Quadrille(_) => {
                "SELECT id, outcome FROM orders WHERE id = ANY($1) AND outcome IS NOT NULL"
            }
            Door::Peer(_) => {
                "SELECT id, status FROM orders WHERE id = ANY($1) AND status <> 'PENDING'"
            }
        });
        Ok(found.bind(orders).fetch_all(&mut self.reader).await?)
    }
}

/// Each as soon as it is due and there is room for it.
async fn place_all(
    http: Client,
    door: Door,
    load: Load,
    tell: mpsc::UnboundedSender<Result<Placed>>,
) {
    let slots = load.rate.map_or(IN_FLIGHT, |_| load.orders);
    let (started, slots) = (Instant::now(), Arc::new(Semaphore::new(slots)));
    let mut posts = JoinSet::new();
    for number in 0..load.orders {
        let due = load
            .rate
            .map(|rate| started + Duration::from_secs_f64(number as f64 / f64::from(rate)));
        if let Some(due) = due {
            sleep_until(due.into()).await;
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let since = due.unwrap_or_else(Instant::now);
        let scenario = load.scenarios[number % load.scenarios.len()];
        let (http, door, tell) = (http.clone(), door.clone(), tell.clone());
        posts.spawn(async move {
            let order = door.place(&http, scenario, number).await;
            let placed = order.map(|order| Placed { order, since, scenario, _slot: slot });
            // The other end is gone when something has failed.
            tell.send(placed).ok();
        });
        while posts.try_join_next().is_some() {}
    }
    posts.join_all().await;
}

impl Door {
    async fn place(&self, http: &Client, scenario: Scenario, number: usize) -> Result<Uuid> {
        let id = SystemEnv.new_id();
        let url = match self {
            Self::Quadrille(api) => {
                let mut draft = scenario.draft();
                GOODS.put_into(&mut draft, number);
                // With a key, so that here too the request could be repeated.
                let answer = api.place(&draft, Some(&id.to_string())).await?;
                return Ok(answer.read::<Brief>()?.order_id);
            }
            Self::Peer(url) => url.replace("{id}", &id.to_string()),
        };
        let answer = http.post(&url).json(&order(id, scenario, number)).send().await?;
        let (status, answer) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{url} answers {status}: {answer}");
        Ok(id)
    }
}

fn order(id: Uuid, scenario: Scenario, number: usize) -> Value {
    let product = if scenario == Scenario::SoldOut { PRODUCTS } else { number % PRODUCTS };
    let amount = if scenario == Scenario::Declined { 999_999 } else { 9980 };
    json!({ "order_id": id, "product": product, "quantity": 2, "amount": amount })
}
