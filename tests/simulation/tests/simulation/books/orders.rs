//! Placing orders, and queries about them.

use super::{SEEDS, STEPS, Twins, Tx, moment, said::*, told};
use chrono::{DateTime, TimeDelta, Utc};
use database::{Failure, Transaction};
use events::{Item, OrderCreated, OrderId};
use messaging::Store;
use order::{Answer, Cancellable, Fact, LockWait, Order, OrderRepository, Placed, View};
use serde_json::json;
use simulation::books::{self, OrderStore, usual};

#[tokio::test]
async fn order_knows_the_same() {
    for seed in 0..SEEDS {
        let service = order::service(&usual()).expect("the defaults suit");
        let mut twins =
            Twins::new(seed, OrderStore::default(), order::Orders::default(), &service).await;
        for _ in 0..STEPS {
            let (items, id) = (twins.items(), twins.order());
            match twins.below(12) {
                0 => twins.hear(|order_id| approved(order_id, &items)).await,
                1 => twins.hear(failed).await,
                2 => twins.hear(reversed).await,
                3 => twins.hear(|order_id| reserved(order_id, &items)).await,
                4 => twins.hear(short).await,
                5 => twins.hear(scheduled).await,
                6 => twins.hear(refused).await,
                7 => twins.do_in_book(&Page::Cancel(id)).await,
                8 => twins.do_in_book(&Page::Overdue(minute(id) + TimeDelta::seconds(30))).await,
                _ => {
                    let place = Page::Place(twins.draw_up(id, items).into());
                    twins.do_in_book(&place).await;
                }
            }
        }
    }
}

enum Page {
    Place(Box<Placed>),
    Cancel(OrderId),
    Overdue(DateTime<Utc>),
}

impl<M, P> Twins<books::Orders, M, P>
where
    M: Store<Tx = Tx<books::Orders>, State = Order>,
    P: Store<Tx = Transaction, State = Order>,
{
    async fn do_in_book(&mut self, page: &Page) {
        let memory = in_book(&self.memory, page, self.memory.chaos.database_now(0)).await;
        let clock = sqlx::query_scalar("SELECT now()").fetch_one(&self.postgres.pool).await;
        let postgres = in_book(&self.postgres, page, clock.expect("it has a clock")).await;
        assert_eq!(told(memory), told(postgres));
        self.know_the_same().await;
    }

    /// One key for two orders.
    fn draw_up(&mut self, order_id: OrderId, items: Vec<Item>) -> Placed {
        let created = created(order_id, &items);
        let (fact, said) = order::root_event(&*self.memory.chaos, &created, json!({}), None);
        let created_at = minute(order_id);
        let key = format!("key {}", order_id.as_bytes()[15] / 2);
        let (digest, body) = (vec![order_id.as_bytes()[15]], "{}".into());
        let answer = (self.below(3) > 0).then_some(Answer { key, digest, order_id, body });
        let OrderCreated { customer_id, payment_method, total_amount, .. } = created;
        let order = Order::new([Fact { at: created_at, ..fact }]);
        let waits_for = None;
        let view = View {
            id: order_id,
            customer_id,
            payment_method,
            total_amount,
            items,
            created_at,
            order,
            waits_for,
        };
        Placed { view, said, answer, client: None }
    }
}

/// A minute of its own, far from that of its neighbours.
fn minute(order: OrderId) -> DateTime<Utc> {
    moment(60 * i64::from(order.as_bytes()[15]))
}

async fn in_book<L: OrderRepository>(
    book: &L,
    page: &Page,
    now: DateTime<Utc>,
) -> Result<String, Failure> {
    match page {
        Page::Overdue(before) => {
            let age = (now - before).to_std().map_err(Failure::permanent)?;
            Ok(format!("{:?}", book.overdue(age, OrderId::nil(), 9).await?))
        }
        Page::Place(placed) => {
            // An order is never placed twice.
            if cancellable(book, placed.view.id).await?.is_some() {
                return Ok("it is there".into());
            }
            let given = book.place(std::slice::from_ref(placed), LockWait::Usual).await;
            given
                .map(|given| format!("{given:?}"))
                .map_err(|why| Failure::permanent(format!("{why:?}")))
        }
        Page::Cancel(order) => Ok(format!("{:?}", cancellable(book, *order).await?)),
    }
}

async fn cancellable<L: OrderRepository>(
    book: &L,
    id: OrderId,
) -> Result<Option<Cancellable>, Failure> {
    let mut tx = book.begin().await?;
    let found = book.cancellable(&mut tx, &[id]).await?.remove(&id);
    book.commit(tx).await?;
    Ok(found)
}
