//! The charge desk: takes up charges and refunds that are due, asks the provider about all of them
//! at the same time, and writes each answer and its event in one transaction.

use crate::{
    Settings,
    gateway::{Gateway, Request},
    payment::{Charge, Payment, Status},
    store,
    verdict::{Policy, Verdict, settle_charge, settle_refund},
};
use database::Failure;
use messaging::{Known, Ledger, Outgoing, Patience};
use saga::{Cause, Decision};
use service::Context;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

/// How often it looks without being woken: another process may have left something.
const POLL_EVERY: Duration = Duration::from_millis(500);
const BATCH_MAX: usize = 128;

#[derive(Clone)]
pub struct Desk {
    gateway: Arc<dyn Gateway>,
    due: Arc<Notify>,
    settings: Settings,
}

/// A charge in hand, and what the provider says about it.
struct Answered {
    charge: Charge,
    answer: Answer,
}

#[derive(Clone)]
enum Answer {
    Charge(Verdict),
    Refund(Result<String, String>),
}

/// What is in hand is bounded: the permit is held until the answer is written.
type InHand = (Answered, OwnedSemaphorePermit);

impl Desk {
    pub const fn new(gateway: Arc<dyn Gateway>, due: Arc<Notify>, settings: Settings) -> Self {
        Self { gateway, due, settings }
    }

    /// Works until told to stop, and then until what is in hand is written.
    pub async fn run(self, context: Context) {
        let (answers, answered) = mpsc::unbounded_channel();
        tokio::join!(self.take_up(&context, answers), self.write_down(&context, answered));
    }

    /// Finishes what a crash has left in hand: asks what became of it, and charges nothing.
    pub async fn reap(self, context: Context) -> anyhow::Result<()> {
        let claim = context.world.new_id();
        let age = self.settings.reap_after;
        let left = store::take_over(&context.pool, claim, age, BATCH_MAX).await?;
        if left.is_empty() {
            return Ok(());
        }
        tracing::warn!(charges = left.len(), "finishing charges that somebody left in hand");
        let asked = left.into_iter().map(|charge| {
            let desk = self.clone();
            tokio::spawn(async move { desk.ask(charge, true).await })
        });
        let mut answers = Vec::new();
        for asked in asked.collect::<Vec<_>>() {
            answers.extend(asked.await?);
        }
        self.settle(&context, answers).await;
        Ok(())
    }

    async fn take_up(&self, context: &Context, answers: mpsc::UnboundedSender<InHand>) {
        let room = Arc::new(Semaphore::new(self.settings.in_flight_max as usize));
        let mut patience = Patience::new(context.world.clone());
        loop {
            let permit = tokio::select! {
                biased;
                () = context.stop.cancelled() => return,
                permit = room.clone().acquire_owned() => permit.expect("nobody closes it"),
            };
            let mut permits = vec![permit];
            while permits.len() < BATCH_MAX
                && let Ok(permit) = room.clone().try_acquire_owned()
            {
                permits.push(permit);
            }
            let claim = context.world.new_id();
            let wait = match store::take_due(&context.pool, claim, permits.len()).await {
                Ok(charges) if !charges.is_empty() => {
                    for (charge, permit) in charges.into_iter().zip(permits) {
                        self.spawn(charge, permit, answers.clone());
                    }
                    continue;
                }
                Ok(_) => {
                    patience.relieved("the charge desk goes on");
                    self.idle(context).await
                }
                Err(why) => {
                    patience.complain(&format!("the charge desk pauses: {why}"));
                    POLL_EVERY
                }
            };
            drop(permits);
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = self.due.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Until when there is nothing to do, unless somebody wakes us.
    async fn idle(&self, context: &Context) -> Duration {
        let next = store::next_due_in(&context.pool).await.ok().flatten();
        next.map_or(POLL_EVERY, |next| next.min(POLL_EVERY))
    }

    /// A slow provider keeps nobody waiting but its own customer.
    fn spawn(
        &self,
        charge: Charge,
        permit: OwnedSemaphorePermit,
        answers: mpsc::UnboundedSender<InHand>,
    ) {
        let desk = self.clone();
        tokio::spawn(async move {
            if let Some(answered) = desk.ask(charge, false).await {
                // The writer lives as long as there is someone to hear.
                let _ = answers.send((answered, permit));
            }
        });
    }

    /// Without an answer in time nobody knows what has happened: the charge stays in hand until the
    /// reaper looks it up.
    async fn ask(&self, charge: Charge, left_by_a_crash: bool) -> Option<Answered> {
        let refund = charge.status == Status::Reversing;
        let request = Request {
            key: if refund { charge.refund_key? } else { charge.charge_key },
            method: charge.method,
            amount: charge.amount,
            attempt: charge.attempts,
        };
        let asked = async {
            if refund {
                Answer::Refund(self.gateway.refund(&request).await)
            } else if left_by_a_crash {
                Answer::Charge(self.gateway.look_up(&request).await)
            } else {
                Answer::Charge(self.gateway.charge(&request).await)
            }
        };
        if let Ok(answer) = tokio::time::timeout(self.settings.gateway_timeout, asked).await {
            return Some(Answered { charge, answer });
        }
        tracing::warn!(
            order_id = %charge.order_id,
            "the provider did not answer in time: the charge will be looked up"
        );
        None
    }

    async fn write_down(&self, context: &Context, mut answered: mpsc::UnboundedReceiver<InHand>) {
        let mut waiting = Vec::new();
        while answered.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let (answers, permits): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            self.settle(context, answers).await;
            drop(permits);
        }
    }

    /// Writes all answers, however long the database is away; told to stop, it leaves them to the
    /// reaper.
    async fn settle(&self, context: &Context, answers: Vec<Answered>) {
        let mut patience = Patience::new(context.world.clone());
        let mut groups = vec![answers];
        while let Some(group) = groups.pop() {
            match self.transact(context, &group).await {
                Ok(()) => patience.relieved("the provider's answers are written"),
                Err(Failure::World(why)) => {
                    patience.complain(&format!("the provider's answers wait: {why:#}"));
                    groups.push(group);
                    tokio::select! {
                        () = context.stop.cancelled() => return,
                        () = patience.wait() => {}
                    }
                }
                Err(Failure::Data(_)) if group.len() > 1 => {
                    groups.extend(group.into_iter().map(|answered| vec![answered]));
                }
                Err(Failure::Data(why)) => {
                    let order = group.first().map(|answered| answered.charge.order_id.to_string());
                    tracing::error!(order_id = order, "an answer cannot be written: {why:#}");
                }
            }
        }
    }

    async fn transact(&self, context: &Context, answers: &[Answered]) -> Result<(), Failure> {
        let orders: Vec<Uuid> = answers.iter().map(|answered| answered.charge.order_id).collect();
        let mut tx = context.ledger.begin().await?;
        context.ledger.lock_orders(&mut tx, &orders).await?;
        let mut payments = store::load(&mut tx, &orders).await?;
        let mut said = Vec::new();
        for answered in answers {
            let order = answered.charge.order_id;
            if let Decision::Change { state, says } = self.decide(answered, payments.of(order, &[]))
            {
                let cause = state.charge.as_ref().map(|charge| charge.cause.clone());
                log(&state, &says);
                payments.keep(order, state);
                said.extend(says.into_iter().map(|event| outgoing(context, event, cause.as_ref())));
            }
        }
        store::save(&mut tx, &payments).await?;
        if !said.is_empty() {
            context.ledger.enqueue(&mut tx, &said).await?;
        }
        context.ledger.commit(tx).await?;
        context.outbox.wake(said);
        // Some may be due again, and at once.
        self.due.notify_one();
        Ok(())
    }

    fn decide(&self, answered: &Answered, payment: Payment) -> Decision<Payment> {
        let Some(claim) = answered.charge.claim else {
            return Decision::nothing();
        };
        let policy = Policy {
            attempts_max: self.settings.attempts_max,
            retry_delay: self.settings.retry_delay,
        };
        match answered.answer.clone() {
            Answer::Charge(verdict) => settle_charge(payment, claim, verdict, policy),
            Answer::Refund(refund) => settle_refund(payment, claim, refund, policy),
        }
    }
}

fn outgoing(context: &Context, event: saga::Said, cause: Option<&Cause>) -> Outgoing {
    Outgoing::new(&*context.world, event, cause)
}

fn log(payment: &Payment, says: &[saga::Said]) {
    let Some(charge) = &payment.charge else {
        return;
    };
    let answer: Vec<_> = says.iter().map(|said| said.event).collect();
    tracing::info!(
        order_id = %charge.order_id,
        event_id = %charge.cause.event_id,
        status = charge.status.name(),
        attempts = charge.attempts,
        answer = answer.join(", "),
        "payment is {}",
        charge.status.name()
    );
}
