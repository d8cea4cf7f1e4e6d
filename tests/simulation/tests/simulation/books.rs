//! Compares the simulation's in-memory databases with Postgres: both get the same random calls,
//! must give the same answers, and must hold the same state afterwards.

mod desk;
mod orders;
mod said;

use chrono::{DateTime, TimeDelta, Utc};
use database::{Failure, Transaction, testing::throwaway};
use events::{Event, Item, Money, OrderId, ProductId};
use inventory::Shelf;
use messaging::{Handled, LoadedBatch, MessageStore, PgMessageStore, Seen, Store};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reaction::{Decision, Heard, On, scenario::heard};
use said::*;
use service::Service;
use simulation::books::{self, Disk, ShipmentStore, Stock, StockStore};
use std::{collections::BTreeSet, fmt::Debug};

const SEEDS: u64 = 3;
const STEPS: usize = 150;
const ORDERS: usize = 8;
const PRICE: Money = Money::cents(4990);
const PRODUCTS: [ProductId; 5] = [
    ProductId::from_u128(1),
    ProductId::from_u128(2),
    ProductId::from_u128(3),
    ProductId::from_u128(4),
    ProductId::from_u128(9),
];

/// The same service's database twice.
struct Twins<D, M, P> {
    memory: Disk<D>,
    in_memory: M,
    postgres: PgMessageStore,
    in_postgres: P,
    dice: StdRng,
}

type Tx<D> = <Disk<D> as MessageStore>::Tx;

impl<D, M, P> Twins<D, M, P>
where
    D: Clone + Default + Send + Sync + 'static,
    M: Store<Tx = Tx<D>, State: Clone + Debug>,
    P: Store<Tx = Transaction, State = M::State>,
{
    async fn new(seed: u64, in_memory: M, in_postgres: P, service: &Service<P>) -> Self {
        let pool = throwaway().await;
        service.migrate(&pool).await.expect("an empty database is filled");
        let dice = StdRng::seed_from_u64(seed);
        Self {
            memory: books::flawless(),
            in_memory,
            postgres: PgMessageStore::new(pool),
            in_postgres,
            dice,
        }
    }

    /// Some orders receive the event, perhaps not for the first time, and perhaps forged.
    async fn hear<E: Event>(&mut self, event: impl Fn(OrderId) -> E)
    where
        M::State: On<E>,
    {
        let some: BTreeSet<OrderId> = (0..3).map(|_| self.order()).collect();
        let all: Vec<_> =
            some.into_iter().map(|order| (dated(event(order)), self.below(9))).collect();
        let memory = hear(&self.memory, &self.in_memory, &all).await;
        let postgres = hear(&self.postgres, &self.in_postgres, &all).await;
        assert_eq!(told(memory), told(postgres), "{}", E::NAME);
        self.know_the_same().await;
    }

    async fn know_the_same(&self) {
        let memory = known(&self.memory, &self.in_memory).await;
        assert_eq!(told(memory), told(known(&self.postgres, &self.in_postgres).await));
    }

    fn below(&mut self, end: usize) -> usize {
        self.dice.random_range(0..end)
    }

    fn order(&mut self) -> OrderId {
        order(self.below(ORDERS))
    }

    fn items(&mut self) -> Vec<Item> {
        let product_id = PRODUCTS[self.below(PRODUCTS.len())];
        let quantity = 1 + self.below(4) as u32;
        vec![Item { product_id, quantity, unit_price: PRICE }]
    }
}

fn order(number: usize) -> OrderId {
    OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number as u128)
}

/// Published at the time that its id contains; long ago, where Postgres has room for any key.
fn dated<E: Event>(event: E) -> Heard<E> {
    let heard = heard(event);
    let (random, _) = heard.id.as_bytes().split_at(10);
    let at = moment(random[0].into());
    let millis = at.timestamp_millis().unsigned_abs();
    let noise = random.try_into().expect("ten bytes");
    let id = uuid::Builder::from_unix_timestamp_millis(millis, noise).into_uuid();
    Heard { id, at, ..heard }
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + seconds)
}

/// A failure, in the classes of the consumer loop.
fn told(result: Result<String, Failure>) -> String {
    match result {
        Ok(said) => said,
        Err(Failure::Permanent(_)) => "refused".into(),
        Err(Failure::Transient(why) | Failure::Refused(why)) => panic!("{why:#}"),
    }
}

/// Handles events as the loop does; returns for each event a number, which is zero for a forgery.
async fn hear<L: MessageStore, S: Store<Tx = L::Tx, State: Debug>, E: Event>(
    message_store: &L,
    store: &S,
    all: &[(Heard<E>, usize)],
) -> Result<String, Failure>
where
    S::State: On<E>,
{
    let mut tx = message_store.begin().await?;
    let handled = all.iter().map(|(heard, number)| Handled {
        event_id: heard.id,
        event: E::NAME,
        order_id: heard.order_id(),
        digest: vec![u8::from(*number == 0); 16],
    });
    let answers = message_store.insert_inbox(&mut tx, &handled.collect::<Vec<_>>()).await?;
    let orders: Vec<_> = all.iter().map(|(heard, _)| heard.order_id()).collect();
    message_store.lock_orders(&mut tx, &orders).await?;
    let mut batch = store.load(&mut tx, &orders, &PRODUCTS).await?;
    let mut said = format!("{answers:?}");
    for ((heard, _), seen_before) in all.iter().zip(answers) {
        if seen_before == Seen::New {
            let decision = batch.get(heard.order_id(), &S::State::touches(&heard.event)).on(heard);
            said += &format!("\n{decision:?}");
            if let Decision::Change { state, .. } = decision {
                batch.put(heard.order_id(), state);
            }
        }
    }
    store.save(&mut tx, &batch).await?;
    message_store.commit(tx).await?;
    Ok(said)
}

async fn known<L: MessageStore, S: Store<Tx = L::Tx, State: Debug>>(
    message_store: &L,
    store: &S,
) -> Result<String, Failure> {
    let mut tx = message_store.begin().await?;
    let orders: Vec<_> = (0..ORDERS).map(order).collect();
    let batch = store.load(&mut tx, &orders, &PRODUCTS).await?;
    // If it were dropped, its locks would remain for a moment, and claims skip locked rows.
    message_store.commit(tx).await?;
    Ok(orders.iter().map(|id| format!("{:?}\n", batch.get(*id, &PRODUCTS))).collect())
}

#[tokio::test]
async fn shipping_knows_the_same() {
    for seed in 0..SEEDS {
        let service = shipping::service(&shipping::Settings {}).expect("it has no settings");
        let mut twins =
            Twins::new(seed, ShipmentStore::default(), shipping::Shipments, &service).await;
        for _ in 0..STEPS {
            let items = twins.items();
            match twins.below(2) {
                0 => twins.hear(|order_id| reserved(order_id, &items)).await,
                _ => twins.hear(cancel).await,
            }
        }
    }
}

#[tokio::test]
async fn inventory_knows_the_same() {
    for seed in 0..SEEDS {
        let service = inventory::service(&inventory::Settings {}).expect("it has no settings");
        let mut twins =
            Twins::<Stock, _, _>::new(seed, StockStore::default(), inventory::Stock, &service)
                .await;
        for _ in 0..STEPS {
            let items = twins.items();
            match twins.below(3) {
                0 | 1 => twins.hear(|order_id| approved(order_id, &items)).await,
                _ => twins.hear(refused).await,
            }
        }
        let memory = overfill(&twins.memory, &twins.in_memory).await;
        assert_eq!(told(memory), "refused");
        assert_eq!(told(overfill(&twins.postgres, &twins.in_postgres).await), "refused");
        twins.know_the_same().await;
    }
}

/// More is reserved than there is.
async fn overfill<L: MessageStore, S: Store<Tx = L::Tx, State = Shelf>>(
    message_store: &L,
    store: &S,
) -> Result<String, Failure> {
    let mut tx = message_store.begin().await?;
    let mut batch = store.load(&mut tx, &[order(0)], &PRODUCTS).await?;
    let mut shelf = batch.get(order(0), &PRODUCTS);
    for product in shelf.products.values_mut() {
        product.reserved = product.total + 1;
    }
    batch.put(order(0), Shelf { refused: true, reservation: None, ..shelf });
    store.save(&mut tx, &batch).await?;
    message_store.commit(tx).await?;
    Ok("taken".into())
}
