//! The four services of one process: their databases and the broker outlive each of them.

use crate::{backend, database::Database, operator::MemoryOperator, verify};
use anyhow::Result;
use async_trait::async_trait;
use axum::{Json, Router, routing::get};
use clap::{Args, Command};
use memory_stores::{
    Process,
    inventory::{Stock, StockStore},
    order::{OrderStore, Orders},
    payment::{PaymentStore, Payments},
    shipping::{ShipmentStore, Shipments},
};
use messaging::{Broker, Env, MemoryBroker, Store, SystemEnv};
use order::{Deadline, Feeds, Placing, http::App, keys::Keys};
use order_page::{Acting, Controls, Mounted, mount};
use payment::{ChargeRepository, Desk, Simulated};
use service::{Context, Service, Tuning, http::Server};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Mutex;

#[derive(Default)]
pub struct System {
    pub broker: MemoryBroker,
    pub orders: Database<Orders>,
    pub payments: Database<Payments>,
    pub stock: Database<Stock>,
    pub shipments: Database<Shipments>,
    running: Mutex<BTreeMap<&'static str, Process>>,
    /// Variables for the services, where the environment does not set them.
    variables: BTreeMap<String, String>,
}

impl System {
    /// Starts everything with these variables, where the environment does not set them, and serves
    /// at this address until it is stopped.
    pub async fn start(
        address: SocketAddr,
        traffic: u8,
        variables: BTreeMap<String, String>,
    ) -> Result<Arc<Self>> {
        let system = Arc::new(Self { variables, ..Self::default() });
        for service in [payment::NAME, inventory::NAME, shipping::NAME] {
            system.run_service(service).await;
        }
        let order = system.start_order(address, traffic).await?;
        system.running.lock().await.insert(order::NAME, order);
        Ok(system)
    }

    /// Ends all of them at once.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock().await);
        for process in running.into_values() {
            process.kill().await;
        }
    }

    pub async fn are_all_final(&self) -> bool {
        let is_final =
            |orders: &Orders| orders.rows.values().all(|row| row.view.order.status().is_final());
        self.orders.0.look(is_final).await
    }

    async fn run_service(&self, service: &'static str) {
        let mut running = self.running.lock().await;
        if running.contains_key(service) {
            return;
        }
        let process = match service {
            payment::NAME => self.start_payment().await,
            inventory::NAME => {
                self.process(&inventory::reactions(StockStore::default()), &self.stock).0
            }
            _ => self.process(&shipping::reactions(ShipmentStore::default()), &self.shipments).0,
        };
        running.insert(service, process);
    }

    async fn start_payment(&self) -> Process {
        // What a killed process had claimed has no other owner.
        let _ = self.payments.put_back(Duration::ZERO, usize::MAX).await;
        let settings: payment::Settings = self.settings();
        let (reap_after, desk) = (settings.reap_after, Desk::new(Arc::new(Simulated), settings));
        let service = payment::reactions(PaymentStore::new(desk.dispatch()));
        let (mut process, context) = self.process(&service, &self.payments);
        process.tasks.spawn(desk.clone().run(context.clone()));
        process.every(reap_after / 4, context, move |context| {
            let desk = desk.clone();
            async move { desk.reap(context).await.is_ok() }
        });
        process
    }

    async fn start_order(self: &Arc<Self>, address: SocketAddr, traffic: u8) -> Result<Process> {
        let mut settings: order_page::Settings = self.settings();
        (settings.page.demo, settings.page.demo_traffic) = (true, traffic);
        settings.order.http.http_addr = address;
        let feeds = Feeds::with_capacity(settings.order.feed_bytes());
        let store = OrderStore::new(feeds.clone());
        let (mut process, context) = self.process(&order::reactions(store.clone()), &self.orders);
        context.health.see_database(true);
        let (placing, writer) = Placing::channel(settings.order.http.in_flight_max as usize);
        process.tasks.spawn(writer.with_feeds(feeds.clone()).run(context.clone()));
        let deadline = Arc::new(Deadline::new(store.clone(), settings.order.order_deadline));
        process.every(Duration::from_secs(1), context.clone(), move |context| {
            let deadline = deadline.clone();
            async move { deadline.enforce(&context).await.is_ok() }
        });
        let mut acting = Acting::new(&settings.page)?;
        acting.operator = Some(Arc::new(MemoryOperator(self.broker.clone())));
        acting.controls = Some(self.clone());
        let Mounted { feed, routes } = mount(&settings, Some(Arc::new(acting)));
        let (backend, plain) = (backend::backend(&context, &store), context.with(()));
        process.tasks.spawn(feed.run(plain.clone(), backend.clone(), feeds.clone()));
        let (keys, stop) = (Keys::default(), plain.stop.clone());
        let app = App::over(backend, &settings.order, plain, feeds, placing, keys);
        let mut more = routes(&app);
        more.open = more.open.merge(self.verdict());
        let server = Server::bind(settings.order.http.listen()).await?;
        let routes = order::routes(app, more);
        process.tasks.spawn(async move {
            if let Err(why) = server.run(routes, stop).await {
                tracing::error!("HTTP ended: {why:#}");
            }
        });
        Ok(process)
    }

    /// `GET /verify`: what `saga verify` tells of a system that others can read.
    fn verdict(self: &Arc<Self>) -> Router<App> {
        let system = self.clone();
        Router::new().route("/verify", get(async move || Json(verify(&system).await)))
    }

    /// A service's own settings, with their defaults.
    fn settings<T: Args>(&self) -> T {
        let command = T::augment_args(Command::new("play")).mut_args(|setting| {
            let variable = setting.get_env().and_then(|name| name.to_str());
            match variable.and_then(|name| self.variables.get(name)) {
                Some(value) => setting.default_value(&*value.clone().leak()),
                None => setting,
            }
        });
        let matches = command.get_matches_from(["play"]);
        T::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn process<S, D>(
        &self,
        service: &Service<S>,
        database: &Database<D>,
    ) -> (Process, Context<Database<D>>)
    where
        S: Store<Tx = messaging::MemoryTx<D>>,
        D: Clone + Send + Sync + 'static,
    {
        let broker: Arc<dyn Broker> = Arc::new(self.broker.clone());
        let env: Arc<dyn Env> = SystemEnv::shared();
        Process::start(service, database, broker, env, Tuning::default())
    }
}

#[async_trait]
impl Controls for System {
    async fn kill(&self, service: &'static str) {
        let process = self.running.lock().await.remove(service);
        if let Some(process) = process {
            process.kill().await;
            tracing::info!("{service} is killed");
        }
    }

    async fn start(&self, service: &'static str) {
        self.run_service(service).await;
        tracing::info!("{service} runs");
    }
}
