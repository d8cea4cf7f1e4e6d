//! Measures each step that a service spends on one message: `payment.approved` on its way through
//! inventory. `make microbench` runs it; the outbox needs a Postgres.

use demo::{PRICE, QUILL};
use divan::{Bencher, black_box, counter::ItemsCount};
use events::{Item, Money, PaymentApproved};
use inventory::{Product, Shelf};
use messaging::{
    Env, Message, MessageStore, Outgoing, PgMessageStore, Queue, SystemEnv, migrations, wire,
};
use reaction::{Cause, Said};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode(bencher: Bencher) {
    let (queue, message) = (queue(), message());
    bencher.bench(|| queue.decode(black_box(&message), None).is_ok());
}

#[divan::bench]
fn decide(bencher: Bencher) {
    let Ok(received) = queue().decode(&message(), None) else { panic!("it makes sense") };
    let product = Product { total: 1_000_000, reserved: 0 };
    let shelf = Shelf { products: [(QUILL, product)].into(), ..Shelf::default() };
    bencher.with_inputs(|| shelf.clone()).bench_values(|shelf| (received.decide)(shelf));
}

#[divan::bench]
fn encode(bencher: Bencher) {
    let event = outgoing();
    bencher.bench(|| {
        let publication = black_box(&event).publication();
        (wire::properties(&publication.message), publication)
    });
}

/// Runs in a transaction of its own, which is on disk at the end.
#[divan::bench(args = [1, 16, 128])]
fn outbox_insert(bencher: Bencher, events: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let message_store = runtime.block_on(message_store());
    let batch = || (0..events).map(|_| outgoing()).collect::<Vec<_>>();
    bencher.counter(ItemsCount::new(events)).with_inputs(batch).bench_values(|batch| {
        runtime.block_on(async {
            let mut tx = message_store.begin().await.expect("a transaction begins");
            message_store.enqueue(&mut tx, &batch).await.expect("it is written");
            message_store.commit(tx).await.expect("it commits");
        });
    });
}

fn queue() -> Queue<Shelf> {
    Queue::of::<PaymentApproved>(inventory::NAME)
}

fn message() -> Message {
    outgoing().publication().message
}

/// The event under an id of its own.
fn outgoing() -> Outgoing {
    let item = Item { product_id: QUILL, quantity: 2, unit_price: PRICE };
    let event = PaymentApproved {
        order_id: SystemEnv.new_id(),
        amount: Money::cents(9980),
        provider_ref: "SIM-81ab0ac6b71f".into(),
        items: vec![item],
    };
    let cause = Cause { event_id: SystemEnv.new_id(), trace: Some(SystemEnv.new_trace()) };
    Outgoing::new(&SystemEnv, Said::new(&event), Some(&cause))
}

async fn message_store() -> PgMessageStore {
    let pool = database::testing::throwaway().await;
    database::migrate(&pool, "messaging_schema_history", &migrations())
        .await
        .expect("the tables are made");
    PgMessageStore::new(pool)
}
