//! Writes all waiting orders in one transaction, and answers only once the outcome is known, as
//! long as it can be found out.

use super::{Answered, Refusal, Verdict, Waiting, drawing::draw_up};
use crate::{
    feed::{Feeds, News},
    store::{Answer, LockWait, OrderRepository, Placed, Unwritten},
};
use events::{Event, OrderCreated};
use messaging::{Bisection, CrashPoint, crash_at};
use service::Context;
use std::{collections::HashMap, pin::pin, time::Duration};
use telemetry::{metrics, trace_id};
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep},
};

/// How long requests in hand are still served after the stop signal: as long as HTTP does.
const FINISH_WITHIN: Duration = Duration::from_secs(6);
/// How long it tries to find out what was written, after a lost answer.
const FOUND_OUT_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// How long a batch that the database refuses is divided, while later requests wait.
const DIVIDED_FOR: Duration = Duration::from_secs(8);
/// After a refusal, how long another one is expected: what is locked is asked for again.
const WARY_FOR: Duration = Duration::from_secs(30);

pub struct Writer {
    queue: mpsc::Receiver<Waiting>,
    feeds: Feeds,
    /// When the database last refused a batch for now.
    refused_at: Option<Instant>,
}

impl Writer {
    pub(super) const fn new(queue: mpsc::Receiver<Waiting>, feeds: Feeds) -> Self {
        Self { queue, feeds, refused_at: None }
    }

    /// Publishes there what it has written, and counts it.
    #[must_use]
    pub fn with_feeds(self, feeds: Feeds) -> Self {
        Self { feeds, ..self }
    }

    /// Writes until the service stops and no client can send any more.
    pub async fn run<L: OrderRepository>(mut self, context: Context<L>) {
        let mut closing = pin!(async {
            context.stop.cancelled().await;
            sleep(FINISH_WITHIN).await;
        });
        let (mut batch, batch_max) = (Vec::new(), context.batch_max);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, batch_max) => if count == 0 { return },
                () = &mut closing => return,
            }
            // A client that has gone, or got a time-out, may have repeated its request elsewhere.
            batch.retain(|waiting: &Waiting| !waiting.reply.is_closed() && waiting.claim.take());
            if !self.write(&context, std::mem::take(&mut batch)).await {
                // Later requests would only wait for the same refusal.
                while let Ok(waiting) = self.queue.try_recv() {
                    waiting.answer(Err(Refusal::Away));
                }
            }
        }
    }

    /// False when the database is away.
    async fn write<L: OrderRepository>(
        &mut self,
        context: &Context<L>,
        batch: Vec<Waiting>,
    ) -> bool {
        let (mut groups, mut reached) = (Bisection::new(batch), true);
        let began = Instant::now();
        while let Some(group) = groups.next_group() {
            let drawn_up = group.iter().map(|waiting| draw_up(&*context.env, &waiting.request));
            let (new, answered): (Vec<_>, Vec<_>) = drawn_up.unzip();
            let written = self.place(context, &new).await;
            reached = !matches!(written, Err(Unwritten::Away(_) | Unwritten::Unknown(_)));
            match written {
                Ok(given) => {
                    crash_at(CrashPoint::OrderCommitted);
                    let verdicts = self.tell(context, new, answered, &given);
                    // The relay publishes the events before the clients are answered.
                    yield_now().await;
                    group.into_iter().zip(verdicts).for_each(|(one, said)| one.answer(said));
                }
                Err(Unwritten::Away(why)) => {
                    tracing::warn!(orders = group.len(), "orders were not placed: {why:#}");
                    group.into_iter().for_each(|waiting| waiting.answer(Err(Refusal::Away)));
                }
                Err(Unwritten::Unknown(why)) => {
                    let orders = group.len();
                    tracing::warn!(orders, "unknown outcome: orders may have been placed: {why:#}");
                    for (waiting, Placed { view, .. }) in group.into_iter().zip(new) {
                        waiting.answer(Err(Refusal::Unknown(view.id)));
                    }
                }
                Err(Unwritten::Refused(why)) => {
                    self.refused_at = Some(Instant::now());
                    let aside = match began.elapsed() < DIVIDED_FOR {
                        true => Vec::from_iter(groups.halve(group)),
                        false => group,
                    };
                    for waiting in aside {
                        let key = waiting.request.key.as_deref();
                        tracing::warn!(key, "an order was not placed, and may be later: {why:#}");
                        waiting.answer(Err(Refusal::NotNow));
                    }
                }
                Err(Unwritten::Permanent(why)) => {
                    if let Some(waiting) = groups.halve(group) {
                        let what = "an order was not placed, since the database refuses it";
                        tracing::error!("{what}: {why:#}");
                        waiting.answer(Err(Refusal::Broken));
                    }
                }
            }
        }
        reached
    }

    /// Gives back the answers to repeated requests, by key.
    async fn place<L: OrderRepository>(
        &self,
        context: &Context<L>,
        new: &[Placed],
    ) -> Result<HashMap<String, Answer>, Unwritten> {
        let _busy = context.health.activities.begin("the writing of orders");
        let is_wary = self.refused_at.is_some_and(|at| at.elapsed() < WARY_FOR);
        let lock_wait = if is_wary { LockWait::Brief } else { LockWait::Usual };
        match context.message_store.place(new, lock_wait).await {
            Err(Unwritten::Unknown(why)) => {
                tracing::warn!(orders = new.len(), "checking whether orders were placed: {why:#}");
                find_out(&context.message_store, new, lock_wait, why).await
            }
            written => written,
        }
    }

    /// Sends new orders to the feeds; returns each request's answer.
    fn tell<L>(
        &self,
        context: &Context<L>,
        new: Vec<Placed>,
        answered: Vec<Answered>,
        given: &HashMap<String, Answer>,
    ) -> Vec<Verdict> {
        let (mut placed, mut verdicts) = (Vec::new(), Vec::new());
        for (new, answered) in new.into_iter().zip(answered) {
            let first = new.answer.as_ref().and_then(|asked| Some((asked, given.get(&asked.key)?)));
            verdicts.push(match first {
                Some((asked, first)) if asked.digest != first.digest => Err(Refusal::KeyReused),
                Some((_, first)) => {
                    Ok(Answered { order_id: first.order_id, body: first.body.clone() })
                }
                None => {
                    placed.push(new);
                    Ok(answered)
                }
            });
        }
        for Placed { view, said, .. } in &placed {
            tracing::info!(order_id = %view.id, event_id = %said.id, total = %view.total_amount,
                trace_id = trace_id(said.trace.as_deref()), "order placed");
        }
        metrics::PLACED.add(placed.len(), []);
        self.feeds.tally.add(placed.iter().map(|_| OrderCreated::NAME));
        self.feeds.news.tell(placed.iter().flat_map(|Placed { view, client, .. }| {
            News::all(view.id, &view.order).map(|news| (client.clone(), news))
        }));
        context.outbox.wake(placed.into_iter().map(|new| new.said).collect());
        verdicts
    }
}

/// After a lost answer: finds the orders that were written, and writes the others. An order has its
/// id already, so it is never written twice, whatever the first statement still does.
async fn find_out<L: OrderRepository>(
    message_store: &L,
    new: &[Placed],
    lock_wait: LockWait,
    lost: anyhow::Error,
) -> Result<HashMap<String, Answer>, Unwritten> {
    let (until, mut last) = (Instant::now() + FOUND_OUT_WITHIN, lost);
    let ids: Vec<_> = new.iter().map(|new| new.view.id).collect();
    while Instant::now() < until {
        let placed = match message_store.placed(&ids).await {
            Ok(there) => {
                let missing = new.iter().filter(|new| !there.contains(&new.view.id));
                message_store.place(&missing.cloned().collect::<Vec<_>>(), lock_wait).await
            }
            Err(why) => Err(Unwritten::Away(why.into())),
        };
        match placed {
            Ok(given) => return Ok(given),
            Err(
                Unwritten::Away(why)
                | Unwritten::Unknown(why)
                | Unwritten::Refused(why)
                | Unwritten::Permanent(why),
            ) => last = why,
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Err(Unwritten::Unknown(last))
}
