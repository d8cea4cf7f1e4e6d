//! The four services, each a process that can end at any step and starts again from its database.
//! They run the shipped code: only databases, broker, provider and clock are replaced.

use crate::{
    cells::store::{BEYOND, DepotStore, reactions, tick},
    chaos::{Chaos, Machine, Place, REPLICAS_MAX, lock},
    disk::Disk,
    faults::Mutant,
    provider::Provider,
    stores::inventory::Stock,
    wire::Wire,
};
use clap::{Args, Command};
use events::{EventId, SAGA, SERVICES};
use memory_stores::{
    Process,
    inventory::StockStore,
    order::{OrderStore, Orders},
    payment::{PaymentStore, Payments},
    shipping::{ShipmentStore, Shipments},
};
use messaging::{Broker, Env, MemoryBroker, QueueShape, RetrySchedule, Store, Topology};
use order::{Deadline, Placing};
use payment::Desk;
use service::{Clock, Context, Service, Tuning};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub const ORDER: usize = 0;
pub const PAYMENT: usize = 1;
pub const INVENTORY: usize = 2;
pub const SHIPPING: usize = 3;

const CLOCK_EVERY: Duration = Duration::from_secs(5);

pub struct Fleet {
    pub chaos: Arc<Chaos>,
    pub broker: MemoryBroker,
    pub orders: Disk<Orders>,
    pub payments: Disk<Payments>,
    pub stock: Disk<Stock>,
    pub shipments: Disk<Shipments>,
    pub provider: Arc<Provider>,
    pub queues: BTreeMap<String, QueueShape>,
    /// Inventory's, where it shares its stock with other cells.
    pub depot: Option<DepotStore>,
    settings: payment::Settings,
    order_deadline: Duration,
    /// Of each service.
    replicas: usize,
    fronts: Mutex<[Option<Front>; REPLICAS_MAX]>,
}

/// The entry point for customers, for as long as this process of order lives.
#[derive(Clone)]
pub struct Front {
    pub placing: Placing,
    pub context: Context<Disk<Orders>>,
    pub ended: CancellationToken,
}

impl Fleet {
    pub fn new(chaos: &Arc<Chaos>) -> Arc<Self> {
        Self::with(chaos, Disk::new(chaos, INVENTORY), None)
    }

    pub fn with(chaos: &Arc<Chaos>, stock: Disk<Stock>, depot: Option<DepotStore>) -> Arc<Self> {
        let mut settings: payment::Settings = usual();
        settings.reap_after = Duration::from_secs(chaos.among(&[10, 60]));
        Arc::new(Self {
            chaos: chaos.clone(),
            broker: MemoryBroker::default(),
            orders: Disk::new(chaos, ORDER),
            payments: Disk::new(chaos, PAYMENT),
            stock,
            shipments: Disk::new(chaos, SHIPPING),
            provider: Arc::new(Provider::new(chaos)),
            queues: all_queues(depot.is_some()),
            depot,
            settings,
            order_deadline: Duration::from_secs(chaos.among(&[15, 60, 600])),
            replicas: chaos.among(&[1, REPLICAS_MAX]),
            fronts: Mutex::default(),
        })
    }

    pub fn front(&self) -> Option<Front> {
        lock(&self.fronts)[self.chaos.below(self.replicas)].clone()
    }

    /// The queues that are empty when the system is idle: all but those of dead letters.
    pub fn waiting_queues(&self) -> impl Iterator<Item = &str> {
        let queues = self.queues.iter().filter(|(_, shape)| **shape != QueueShape::Parked);
        queues.map(|(queue, _)| queue.as_str())
    }

    /// Which service hears which event.
    pub fn steps(&self) -> Vec<(&'static str, &'static str)> {
        let saga = SAGA.iter().map(|step| (step.service, step.hears));
        let beyond = BEYOND.iter().filter(|_| self.depot.is_some());
        saga.chain(beyond.map(|event| (inventory::NAME, *event))).collect()
    }

    /// The processes, each of which is kept running.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let services = |replica| (0..SERVICES.len()).map(move |service| Place { service, replica });
        (0..self.replicas).flat_map(services)
    }

    /// Whether this service has handled that event.
    pub async fn has_handled(&self, service: usize, event: EventId) -> bool {
        match service {
            ORDER => self.orders.tables.has_handled(event).await,
            PAYMENT => self.payments.tables.has_handled(event).await,
            INVENTORY => self.stock.tables.has_handled(event).await,
            _ => self.shipments.tables.has_handled(event).await,
        }
    }

    /// Keeps a process of a service running, through all its crashes.
    pub async fn run_for_ever(self: Arc<Self>, place: Place) {
        let chaos = &self.chaos;
        loop {
            chaos.note(place.name(), "starts", &[]);
            let mut process = self.start(place);
            tokio::select! {
                biased;
                () = chaos.crashed(place) => {}
                Some(ended) = process.tasks.join_next() => panic!(
                    "{} has ended by itself: {ended:?}", place.name()
                ),
                ended = process.supervisor.join_next() => panic!(
                    "{} has ended by itself: {ended:?}", place.name()
                ),
            }
            if chaos.chance(0.3) {
                chaos.note(place.name(), "is told to stop", &[]);
                process.stop.cancel();
                let drained = async { while process.tasks.join_next().await.is_some() {} };
                let _ = timeout(Duration::from_secs(7), drained).await;
                process.said.cancel();
                // Then it is killed.
                let _ = timeout(Duration::from_secs(2), process.supervisor.join_next()).await;
            }
            process.kill().await;
            sleep(chaos.within(1..4000)).await;
        }
    }

    fn start(&self, Place { service, replica }: Place) -> Process {
        match service {
            ORDER => self.start_order(replica),
            PAYMENT => self.start_payment(replica),
            INVENTORY => self.start_inventory(replica),
            _ => {
                self.run(
                    &shipping::reactions(ShipmentStore::default()),
                    &self.shipments.of(replica),
                )
                .0
            }
        }
    }

    fn start_order(&self, replica: usize) -> Process {
        let orders = self.orders.of(replica);
        let (mut process, context) = self.run(&order::reactions(OrderStore::default()), &orders);
        let (placing, writer) = Placing::channel(64);
        process.tasks.spawn(writer.run(context.clone()));
        let deadline = Arc::new(Deadline::new(OrderStore::default(), self.order_deadline));
        process.every(Duration::from_secs(1), context.clone(), move |context| {
            let deadline = deadline.clone();
            async move { deadline.enforce(&context).await.is_ok() }
        });
        let ended = process.ended.clone();
        lock(&self.fronts)[replica] = Some(Front { placing, context, ended });
        process
    }

    fn start_payment(&self, replica: usize) -> Process {
        let desk = Desk::new(self.provider.clone(), self.settings.clone());
        let service = payment::reactions(PaymentStore::new(desk.dispatch()));
        let (mut process, context) = self.run(&service, &self.payments.of(replica));
        process.tasks.spawn(desk.clone().run(context.clone()));
        process.every(self.settings.reap_after / 4, context, move |context| {
            let desk = desk.clone();
            async move { desk.reap(context).await.is_ok() }
        });
        process
    }

    fn start_inventory(&self, replica: usize) -> Process {
        let stock = self.stock.of(replica);
        let Some(depot) = self.depot else {
            return self.run(&inventory::reactions(StockStore::default()), &stock).0;
        };
        let (mut process, context) = self.run(&reactions(depot), &stock);
        process.every(Duration::from_secs(1), context, move |context| async move {
            tick(context, depot).await.is_ok()
        });
        process
    }

    /// Runs it as `service::Service::run` does.
    fn run<S, D>(&self, service: &Service<S>, disk: &Disk<D>) -> (Process, Context<Disk<D>>)
    where
        S: Store<Tx = crate::disk::Tx<D>>,
        D: Clone + Default + Send + Sync + 'static,
    {
        let (chaos, place) = (self.chaos.clone(), disk.place);
        let doomed = disk.doomed.clone();
        let wire = Wire { broker: self.broker.clone(), chaos: chaos.clone(), place, doomed };
        let machine = Arc::new(Machine { chaos: chaos.clone(), place });
        let clock = Arc::new(Clock::new(machine.clone()));
        let env: Arc<dyn Env> = match chaos.is_broken(Mutant::GoesByItsOwnClock) {
            true => machine,
            false => clock.clone(),
        };
        let batch_max = self.chaos.among(&[1, 3, 100]);
        let tuning = Tuning { batch_max, outbox_memory: 1 << 20, ..Tuning::default() };
        let broker: Arc<dyn Broker> = Arc::new(wire);
        let (mut process, context) = Process::start(service, disk, broker, env, tuning);
        process.tasks.spawn(look_at_clock(clock, disk.clone()));
        (process, context)
    }
}

fn all_queues(is_cell: bool) -> BTreeMap<String, QueueShape> {
    let schedule = RetrySchedule::default();
    let hears: &[&str] = if is_cell { &BEYOND } else { &[] };
    let inventory = Topology::of(inventory::NAME, hears, &schedule).queues;
    Topology::whole(&schedule).queues.into_iter().chain(inventory).collect()
}

/// At once, and then as `service::Health` does it.
fn look_at_clock<D>(clock: Arc<Clock>, disk: Disk<D>) -> impl Future<Output = ()>
where
    D: Clone + Default + Send + Sync + 'static,
{
    let Disk { chaos, place, .. } = disk;
    clock.observe(chaos.database_now(place.service), Instant::now());
    async move {
        loop {
            sleep(CLOCK_EVERY).await;
            let away = chaos.database_fails(place, chaos.faults.database, "shows no time", &[]);
            let asked = Instant::now();
            sleep(chaos.within(0..chaos.among(&[2, 2000]))).await;
            let shown = chaos.database_now(place.service);
            sleep(chaos.within(0..chaos.among(&[2, 2000]))).await;
            if away.is_ok() {
                clock.observe(shown, asked);
            }
        }
    }
}

/// Default settings.
pub fn usual<T: Args>() -> T {
    let matches = T::augment_args(Command::new("usual")).get_matches_from(["usual"]);
    T::from_arg_matches(&matches).expect("defaults are possible values")
}
