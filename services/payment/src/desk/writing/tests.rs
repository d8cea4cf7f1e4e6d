use super::*;
use crate::{
    gateway::Simulated,
    on::examples::charge as example,
    payment::Charge,
    store::{load, put_back_lost, save, take_due},
};
use database::{Limits, PgPool};
use messaging::{LoadedBatch, MessageStore};
use std::{sync::Arc, time::Duration};

async fn context() -> Context {
    let url = database::testing::throwaway_url().await;
    // Each try with a locked order waits for a quarter of that.
    let pool = PgPool::new(&url, "test", 4, Limits::new(Duration::from_secs(8))).unwrap();
    crate::service(&crate::settings::usual()).unwrap().migrate(&pool).await.unwrap();
    service::testing::context(pool)
}

#[tokio::test]
async fn an_order_that_is_locked_holds_up_no_other() {
    let context = context().await;
    let store = &context.message_store;
    let tx = store.begin().await.unwrap();
    let mut batch = load(&tx, &[]).await.unwrap();
    for order_id in (1..=20).map(OrderId::from_u128) {
        let due = example(Status::Pending).due(Status::Pending, Duration::ZERO);
        batch.put(order_id, Charge { order_id, ..due }.into());
    }
    save(&tx, &batch);
    tx.commit().await.unwrap();
    let taken = take_due(store, context.env.new_id(), 20).await.unwrap();
    let locked = taken[0].order_id;
    let done = || Verdict::Done { reference: "SIM".into() };
    let answers = taken.into_iter().map(|charge| Answered { charge, verdict: done() });

    let tx = store.begin().await.unwrap();
    tx.query("SET LOCAL idle_in_transaction_session_timeout = 0").run();
    load(&tx, &[locked]).await.unwrap();
    let desk = Desk::new(Arc::new(Simulated), crate::settings::usual());
    desk.settle(&context, answers.collect()).await;
    let said = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&store.pool);
    assert_eq!(said.await.unwrap_or(0_i64), 19);

    tx.commit().await.unwrap();
    assert_eq!(put_back_lost(store, Duration::ZERO, |_| false).await.unwrap(), 1, "looked up");
}
