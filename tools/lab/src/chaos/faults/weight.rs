//! Places orders of the maximum size while the broker is silent: their events must wait in the
//! tables. `memory.rs` measures the services' memory meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use events::OrderId;
use kit::api::{Api, Brief, Draft};
use kit::output::some;
use kit::scenario::Scenario;
use messaging::{Env, SystemEnv};
use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use super::{ALL, Hands, ms};
use crate::chaos::plan::Step;
use crate::chaos::watch::{Measure, Since};
use crate::load::Goods;

/// The maximum number of items in an order.
const LINES: u32 = 100;
const CUSTOMERS: usize = 32;
/// More of them would take longer to handle afterwards than a run has time for.
const ORDERS_MAX: usize = 10_000;
/// One order of so many is confirmed; the others, which are as large, end soon.
const CONFIRMED: usize = 4;
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

impl Hands<'_> {
    pub(super) async fn weight(&mut self, step: &Step) -> Result<String> {
        let goods = Goods::Spread(LINES);
        goods.shelve(self.fleet.system.endpoints.database("inventory")?).await?;
        let of = |scenario: Scenario| Draft { items: goods.one_of_each(), ..scenario.draft() };
        let drafts = [of(Scenario::Confirmed), of(Scenario::Declined)];
        let broker = self.fleet.system.servers.rabbitmq().process();
        let api = self.fleet.api()?;
        broker.signal(Signal::SIGSTOP);
        let placed = place(&api, &drafts, step.lasts).await;
        broker.signal(Signal::SIGCONT);
        let since = Since::now();
        let number = placed.len();
        self.placed.extend(placed);
        self.flows(Since::now(), &ALL, Measure::BrokerFlows).await?;
        ensure!(number > 0, "none of the large orders was taken");
        let settled = since.settled(&self.fleet.system.endpoints, SETTLED_WITHIN).await?;
        self.recovered(Measure::Settled, settled);
        let orders = some(number, "order");
        Ok(format!("{orders} of {LINES} lines in {}, the broker frozen", ms(step.lasts)))
    }
}

/// The orders that were answered 201.
async fn place(api: &Api, drafts: &[Draft; 2], lasts: Duration) -> Vec<OrderId> {
    let end = Instant::now() + lasts;
    let mut customers = JoinSet::new();
    for number in 0..CUSTOMERS {
        let draft = &drafts[usize::from(number % CONFIRMED > 0)];
        let (api, draft) = (api.clone(), draft.clone());
        customers.spawn(async move {
            let mut placed = Vec::new();
            while Instant::now() < end && placed.len() < ORDERS_MAX / CUSTOMERS {
                // A refused order was not placed; an unanswered one may have been.
                let key = SystemEnv.new_id().to_string();
                let answer = api.place(&draft, Some(&key)).await;
                let order = answer.and_then(|answer| answer.read::<Brief>());
                placed.extend(order.map(|order| order.order_id));
            }
            placed
        });
    }
    customers.join_all().await.concat()
}
