use super::*;
use crate::{
    order::Status,
    testing::{Bench, approved, context, reversed, short},
};
use events::{
    Event, InventoryReserved, Money, OrderCreated, PaymentApproved, PaymentMethod, PaymentReversed,
};
use messaging::MessageStore;
use sqlx::Row;
use std::time::Duration;
use uuid::Uuid;

fn ids(views: &[crate::view::View]) -> Vec<OrderId> {
    views.iter().map(|view| view.id).collect()
}

#[tokio::test]
async fn a_placed_order_is_read_as_it_was_written() {
    let bench = Bench::new().await;
    let placed = bench.placing.place(crate::testing::request(None)).await.unwrap();
    let view =
        get(&bench.context.message_store.pool, placed.order_id, None).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&view).unwrap(), placed.body);
    assert_eq!(view.items, crate::testing::draft().items);
    assert!(placed.body.contains(r#""total_amount":99.85"#), "{}", placed.body);
    let known =
        order(&bench.context.message_store.pool, placed.order_id, None).await.unwrap().unwrap();
    assert_eq!(known, view.order);
    assert_eq!(get(&bench.context.message_store.pool, OrderId::nil(), None).await.unwrap(), None);
    assert_eq!(order(&bench.context.message_store.pool, OrderId::nil(), None).await.unwrap(), None);
}

#[tokio::test]
async fn an_order_and_its_event_are_written_together() {
    let bench = Bench::new().await;
    let order_id = bench.placed().await;
    let row = sqlx::query("SELECT event_id, event_type, order_id, body, caused_by FROM outbox")
        .fetch_one(&bench.context.message_store.pool)
        .await
        .unwrap();
    assert_eq!(row.get::<Uuid, _>("order_id"), order_id);
    assert_eq!(row.get::<Option<Uuid>, _>("caused_by"), None);
    let created: OrderCreated = serde_json::from_str(row.get("body")).unwrap();
    assert_eq!((created.order_id, created.total_amount), (order_id, Money::cents(9985)));
    let known = order(&bench.context.message_store.pool, order_id, None).await.unwrap().unwrap();
    assert_eq!(known.timeline()[0].event_id, row.get::<Uuid, _>("event_id"));
}

#[tokio::test]
async fn what_was_heard_is_kept_with_the_status_that_follows() {
    let bench = Bench::new().await;
    let order_id = bench.placed().await;
    bench.hear(approved(order_id)).await;
    bench.hear(approved(order_id)).await;
    let view = get(&bench.context.message_store.pool, order_id, None).await.unwrap().unwrap();
    assert_eq!(view.order.status(), Status::PaymentApproved);
    assert_eq!(view.order.fact(PaymentApproved::NAME).unwrap().detail["provider_ref"], "ch_1");
    assert!(view.updated_at() >= view.created_at);

    bench.confirm(order_id).await;
    let row = sqlx::query("SELECT status, updated_at FROM orders")
        .fetch_one(&bench.context.message_store.pool)
        .await
        .unwrap();
    assert_eq!(row.get::<&str, _>("status"), "CONFIRMED");
    let view = get(&bench.context.message_store.pool, order_id, None).await.unwrap().unwrap();
    let updated_at: DateTime<Utc> = row.get("updated_at");
    assert_eq!(updated_at.timestamp_micros(), view.updated_at().timestamp_micros());
}

#[tokio::test]
async fn a_batch_is_saved_at_once_and_an_untouched_order_stays() {
    let bench = Bench::new().await;
    let orders = [bench.placed().await, bench.placed().await, bench.placed().await];
    let (store, message_store) = (&bench.orders, &bench.context.message_store);
    let mut tx = message_store.begin().await.unwrap();
    let mut loaded = store.load(&mut tx, &orders, &[]).await.unwrap();
    for id in &orders[..2] {
        let mut known = loaded.get(*id, &[]);
        for event in [InventoryReserved::NAME, PaymentReversed::NAME] {
            let event_id = bench.context.env.new_id();
            let (at, caused_by) = (bench.context.env.now(), Some(*id));
            known.remember(Fact { event, event_id, at, caused_by, detail: Value::Null });
            loaded.put(*id, known.clone());
        }
    }
    store.save(&mut tx, &loaded).await.unwrap();
    message_store.commit(tx).await.unwrap();
    for (id, expected) in
        orders.into_iter().zip([Status::PaymentReversed, Status::PaymentReversed, Status::Pending])
    {
        let view = get(&bench.context.message_store.pool, id, None).await.unwrap().unwrap();
        assert_eq!(view.order.status(), expected);
    }
    assert_eq!(bench.count("SELECT sum(jsonb_array_length(facts)) FROM orders").await, 3 + 2 * 2);
}

#[tokio::test]
async fn a_list_is_paged_newest_first_without_gaps_or_repetitions() {
    let bench = Bench::new().await;
    let mut placed = Vec::new();
    for _ in 0..7 {
        placed.push(bench.placed().await);
    }
    let mut seen = Vec::new();
    let mut filter = Filter { limit: 3, ..Filter::default() };
    for expected in [3, 3, 1] {
        let (views, next) = list(&bench.context.message_store.pool, &filter).await.unwrap();
        assert_eq!(views.len(), expected);
        assert_eq!(next.is_some(), expected == 3);
        seen.extend(ids(&views));
        filter.after = next.map(|cursor| cursor.to_string().parse().unwrap());
        // What is placed meanwhile does not move the pages.
        bench.placed().await;
    }
    // By their ids, which begin with a time: two in one millisecond have no other order.
    placed.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(seen, placed);
}

#[tokio::test]
async fn a_list_is_filtered_by_status_and_customer() {
    let bench = Bench::new().await;
    let (confirmed, pending) = (bench.placed().await, bench.placed().await);
    bench.confirm(confirmed).await;
    let of = async |status, customer_id| {
        let filter = Filter { status, customer_id, limit: 10, ..Filter::default() };
        ids(&list(&bench.context.message_store.pool, &filter).await.unwrap().0)
    };
    assert_eq!(of(Some(Status::Confirmed), None).await, [confirmed]);
    assert_eq!(of(Some(Status::Pending), Some(Uuid::from_u128(5))).await, [pending]);
    assert_eq!(of(None, Some(Uuid::from_u128(6))).await, [] as [OrderId; 0]);
}

#[tokio::test]
async fn old_answers_are_forgotten() {
    let bench = Bench::new().await;
    bench.placing.place(crate::testing::request(Some("a"))).await.unwrap();
    let pool = &bench.context.message_store.pool;
    assert_eq!(forget_answers(pool, Duration::from_hours(1), 9).await.unwrap(), 0);
    assert_eq!(forget_answers(pool, Duration::ZERO, 9).await.unwrap(), 1);
}

#[tokio::test]
async fn a_cancel_request_is_told_what_to_carry() {
    let bench = Bench::new().await;
    let order_id = bench.placed().await;
    let message_store = &bench.context.message_store;
    let mut tx = message_store.begin().await.unwrap();
    let mut known = message_store.cancellable(&mut tx, &[order_id, OrderId::nil()]).await.unwrap();
    let known = known.remove(&order_id).filter(|_| known.is_empty()).unwrap();
    assert_eq!(known.payment_method, PaymentMethod::Pix);
    assert_eq!(known.total_amount, Money::cents(9985));
    assert!(known.trace.is_some_and(|trace| trace.starts_with("00-")));
}

#[tokio::test]
async fn overdue_is_what_neither_ends_nor_is_being_undone() {
    let bench = Bench::new().await;
    let late = bench.placed().await;
    let (confirmed, undone) = (bench.placed().await, bench.placed().await);
    bench.confirm(confirmed).await;
    bench.hear(short(undone)).await;
    bench.hear(reversed(undone)).await;
    sqlx::query("UPDATE orders SET created_at = created_at - INTERVAL '1 minute'")
        .execute(&bench.context.message_store.pool)
        .await
        .unwrap();
    let message_store = &bench.context.message_store;
    let (a_minute, an_hour) = (Duration::from_mins(1), Duration::from_hours(1));
    let overdue = async |age, after| message_store.overdue(age, after, 9).await.unwrap();
    assert_eq!(overdue(a_minute, OrderId::nil()).await, [late]);
    assert_eq!(overdue(a_minute, late).await, [] as [OrderId; 0]);
    assert_eq!(overdue(an_hour, OrderId::nil()).await, [] as [OrderId; 0]);
}

#[tokio::test]
async fn a_fact_that_only_a_newer_version_knows_does_no_harm() {
    let bench = Bench::new().await;
    let order_id = bench.placed().await;
    sqlx::query(
        "UPDATE orders
         SET facts = facts || jsonb_build_array(jsonb_build_object(
             'event', 'shipping.delivered', 'event_id', id, 'at', now(), 'detail', '{}'::JSONB))",
    )
    .execute(&bench.context.message_store.pool)
    .await
    .unwrap();
    bench.hear(approved(order_id)).await;
    assert_eq!(bench.count("SELECT jsonb_array_length(facts)::BIGINT FROM orders").await, 3);
    let view = get(&bench.context.message_store.pool, order_id, None).await.unwrap().unwrap();
    assert_eq!(view.order.status(), Status::PaymentApproved);
}

#[tokio::test]
async fn an_order_that_only_a_newer_version_can_read_takes_no_others_along() {
    let bench = Bench::new().await;
    let pool = &bench.context.message_store.pool;
    let mut placed = Vec::new();
    for _ in 0..4 {
        placed.push(bench.placed().await);
    }
    placed.sort_unstable();
    let [oldest, readable, last, strange] = placed[..] else { unreachable!() };
    // One by its facts, one by its row.
    for (sql, order) in [
        ("UPDATE orders SET facts = facts || '[7]' WHERE id = $1", last),
        ("UPDATE orders SET payment_method = 'barter' WHERE id = $1", strange),
    ] {
        sqlx::query(sql).bind(order).execute(pool).await.unwrap();
    }
    let filter = Filter { limit: 2, ..Filter::default() };
    let (views, next) = list(pool, &filter).await.unwrap();
    assert_eq!((ids(&views), next), (vec![], Some(Cursor(last))));
    let filter = Filter { after: next, ..filter };
    assert_eq!(ids(&list(pool, &filter).await.unwrap().0), [readable, oldest]);

    assert_eq!(ids(&glance(pool, &[]).await.unwrap()), [readable, oldest]);
    let since = DateTime::UNIX_EPOCH;
    let changed = lately(pool, since, 10, None).await.unwrap().orders;
    let changed: Vec<_> = changed.into_iter().map(|(id, ..)| id).collect();
    assert_eq!(changed, [oldest, readable, strange]);
    let mut more = further(pool, &[(last, 0), (readable, 0)]).await.unwrap();
    assert_eq!(more.pop().map(|(id, _)| id), Some(readable));
    assert!(more.is_empty());
    assert!(get(pool, strange, None).await.is_err(), "it is not told to be unknown");
}

#[tokio::test]
async fn an_empty_batch_is_no_work() {
    let context = context().await;
    let mut tx = context.message_store.begin().await.unwrap();
    assert!(context.message_store.place(&[], LockWait::Usual).await.unwrap().is_empty());
    let loaded = Orders::default().load(&mut tx, &[OrderId::nil()], &[]).await.unwrap();
    assert_eq!(loaded.get(OrderId::nil(), &[]), Order::default());
    Orders::default().save(&mut tx, &loaded).await.unwrap();
}

/// Postgres keeps the plan of a prepared statement, and makes it while there are no orders yet.
#[tokio::test]
async fn orders_are_found_by_their_index_even_while_there_are_none() {
    let pool = context().await.message_store.pool;
    let mut connection = pool.acquire().await.unwrap();
    for setup in [
        "SET plan_cache_mode = force_generic_plan",
        "PREPARE load (UUID[]) AS SELECT id, facts::TEXT FROM orders WHERE id = ANY($1)",
    ] {
        sqlx::raw_sql(setup).execute(&mut connection).await.unwrap();
    }
    let plan: Vec<(String,)> =
        sqlx::query_as("EXPLAIN EXECUTE load('{}')").fetch_all(&mut connection).await.unwrap();
    assert!(plan.iter().any(|(line,)| line.contains("orders_pkey")), "{plan:?}");
}

#[tokio::test]
async fn a_glance_sees_the_newest_and_the_oldest_that_wait() {
    let bench = Bench::new().await;
    let first = bench.placed().await;
    for _ in 0..60 {
        let placed = bench.placed().await;
        bench.confirm(placed).await;
    }
    let views = glance(&bench.context.message_store.pool, &[]).await.unwrap();
    let ids: Vec<_> = views.iter().map(|view| view.id).collect();
    assert!(ids.contains(&first) && ids.len() < 60, "{}", ids.len());
    assert!(views.is_sorted_by(|one, other| one.created_at >= other.created_at));
    let counts = count(&bench.context.message_store.pool).await.unwrap();
    let told: Vec<_> = counts.into_iter().filter(|(_, orders)| *orders > 0).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told.iter().map(|(_, orders)| orders).sum::<i64>(), 61);
}
