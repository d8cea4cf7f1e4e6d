//! The charge desk: takes up charges and refunds that are due, asks the provider about all of them
//! at the same time, and writes each answer and its event in one transaction.

mod book;
mod writing;

use crate::{
    Settings,
    breaker::Room,
    counter::{Counter, Taken},
    gateway::{Gateway, Request},
    measure::Asking,
    payment::{Call, Charge, Status},
    verdict::Verdict,
};
use messaging::{CrashPoint, Retry, crash_at};
use service::Context;
use std::{sync::Arc, time::Duration};
use telemetry::metrics;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout},
};

pub use book::ChargeBook;

/// How often it looks without being woken: another process may have left something.
const POLL_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Desk {
    gateway: Arc<dyn Gateway>,
    counter: Counter,
    handed: Arc<Mutex<mpsc::UnboundedReceiver<Taken>>>,
    settings: Settings,
}

/// A charge in hand, and what the provider says about it.
struct Answered {
    charge: Charge,
    verdict: Verdict,
}

type InHand = (Answered, OwnedSemaphorePermit);

impl Desk {
    pub fn new(gateway: Arc<dyn Gateway>, settings: Settings) -> Self {
        let (counter, handed) = Counter::new(settings.limits());
        Self { gateway, counter, handed: Arc::new(Mutex::new(handed)), settings }
    }

    /// For the reactions.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// Works until told to stop, and then until what is in hand is written.
    pub async fn run<L: ChargeBook>(self, context: Context<L>) {
        let (answers, answered) = mpsc::unbounded_channel();
        tokio::join!(
            self.accept(&context, answers.clone()),
            self.take_up(&context, answers),
            self.write_down(&context, answered)
        );
    }

    /// Puts back what a crash has left in hand: it is looked up, and not charged blindly.
    pub async fn reap<L: ChargeBook>(self, context: Context<L>) -> anyhow::Result<()> {
        let left = context.ledger.put_back(self.settings.reap_after, context.batch_max).await?;
        if left > 0 {
            crash_at(CrashPoint::ChargePutBack);
            tracing::warn!(charges = left, "finishing charges that somebody left in hand");
            self.counter.wake();
        }
        Ok(())
    }

    /// What reactions hand over, until there are no more reactions.
    async fn accept<L: ChargeBook>(
        &self,
        context: &Context<L>,
        answers: mpsc::UnboundedSender<InHand>,
    ) {
        let mut handed = self.handed.lock().await;
        loop {
            let taken = tokio::select! {
                biased;
                Some(taken) = handed.recv() => taken,
                () = context.deaf.cancelled() => return,
            };
            crash_at(CrashPoint::ChargeTaken);
            self.spawn(taken, answers.clone());
        }
    }

    async fn take_up<L: ChargeBook>(
        &self,
        context: &Context<L>,
        answers: mpsc::UnboundedSender<InHand>,
    ) {
        let mut retry = Retry::new(context.world.clone());
        loop {
            let permit = tokio::select! {
                biased;
                () = context.stop.cancelled() => return,
                permit = self.counter.permit() => permit,
            };
            let permits = self.permits(context, permit).await;
            let wait = match permits {
                Ok(permits) => match self.take_due(context, permits, &answers).await {
                    Ok(true) => continue,
                    Ok(false) => {
                        retry.succeeded("the charge desk goes on");
                        self.idle(context).await
                    }
                    Err(why) => {
                        retry.failed(&format!("the charge desk pauses: {why}"));
                        POLL_EVERY
                    }
                },
                Err(wait) => wait,
            };
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return,
                () = self.counter.woken() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// As many as the provider can bear; else how long to wait until some may be free.
    async fn permits<L: ChargeBook>(
        &self,
        context: &Context<L>,
        first: OwnedSemaphorePermit,
    ) -> Result<Vec<OwnedSemaphorePermit>, Duration> {
        let allowed = self.allowed(context).await?;
        let room = || allowed.saturating_sub(self.counter.in_flight() - 1).min(context.batch_max);
        if room() == 0 {
            self.counter.wait_for_room();
        }
        // An answer may have been written just before that.
        let allowed = room();
        if allowed == 0 {
            return Err(POLL_EVERY);
        }
        let mut permits = vec![first];
        while permits.len() < allowed
            && let Some(permit) = self.counter.permit_now()
        {
            permits.push(permit);
        }
        Ok(permits)
    }

    /// How many calls the provider may have at the same time. While it fails nothing is taken up,
    /// so that waiting costs no attempt.
    async fn allowed<L: ChargeBook>(&self, context: &Context<L>) -> Result<usize, Duration> {
        match self.counter.room() {
            Room::Calls(allowed) => return Ok(allowed),
            Room::Nothing { for_now } => return Err(for_now),
            Room::Probe => {}
        }
        let answered = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Err(POLL_EVERY),
            answered = timeout(self.settings.gateway_timeout, self.gateway.probe()) => answered,
        };
        let failed = answered.map_or(true, |verdict| verdict.is_fault());
        self.counter.probed(failed);
        match self.counter.room() {
            Room::Calls(allowed) => {
                tracing::info!("the provider answers again: charges go on, few at first");
                Ok(allowed)
            }
            Room::Nothing { for_now } => Err(for_now),
            Room::Probe => Err(POLL_EVERY),
        }
    }

    /// Whether there was something to take.
    async fn take_due<L: ChargeBook>(
        &self,
        context: &Context<L>,
        permits: Vec<OwnedSemaphorePermit>,
        answers: &mpsc::UnboundedSender<InHand>,
    ) -> Result<bool, database::Failure> {
        let claim = context.world.new_id();
        let began = Instant::now();
        let busy = context.health.activities.begin("the taking up of charges");
        let taken = context.ledger.take_due(claim, permits.len()).await;
        drop(busy);
        metrics::POLLS.record(began.elapsed(), []);
        let charges = taken?;
        if !charges.is_empty() {
            crash_at(CrashPoint::ChargeTaken);
        }
        let any = !charges.is_empty();
        for (charge, permit) in charges.into_iter().zip(permits) {
            self.spawn(Taken { charge, permit }, answers.clone());
        }
        Ok(any)
    }

    /// Until when there is nothing to do, unless somebody wakes us.
    async fn idle<L: ChargeBook>(&self, context: &Context<L>) -> Duration {
        let next = context.ledger.next_due_in().await.ok().flatten();
        next.map_or(POLL_EVERY, |next| next.min(POLL_EVERY))
    }

    /// A slow provider keeps nobody waiting but its own customer.
    fn spawn(&self, Taken { mut charge, permit }: Taken, answers: mpsc::UnboundedSender<InHand>) {
        let desk = self.clone();
        tokio::spawn(async move {
            let Some(verdict) = desk.ask(&mut charge).await else {
                return;
            };
            let failed = verdict.is_fault();
            if let Some(opened) = desk.counter.record(failed) {
                tracing::warn!(
                    failures = opened.failures,
                    calls = opened.calls,
                    "the provider fails: charges wait until it answers again"
                );
            }
            // The writer lives as long as there is someone to hear.
            let _ = answers.send((Answered { charge, verdict }, permit));
        });
    }

    /// Without an answer in time nobody knows what has happened.
    async fn ask(&self, charge: &mut Charge) -> Option<Verdict> {
        let refund = charge.status == Status::Reversing;
        let key = if refund { charge.refund_key? } else { charge.charge_key };
        let asking = Asking::begin(charge);
        let request = Request {
            order_id: charge.order_id,
            key,
            method: charge.method,
            amount: charge.amount,
            attempt: charge.attempts,
            trace: charge.cause.trace.clone(),
        };
        let asked = async {
            match charge.next_call {
                _ if refund => self.gateway.refund(&request, charge.charge_key).await,
                Call::Charge => self.gateway.charge(&request).await,
                Call::LookUp => self.gateway.look_up(&request).await,
                Call::Void => self.gateway.void(&request).await,
            }
        };
        let unknown = |_| Verdict::Unknown { reason: "no answer in time".into() };
        let verdict = timeout(self.settings.gateway_timeout, asked).await.unwrap_or_else(unknown);
        crash_at(CrashPoint::ChargeAnswered);
        asking.end(verdict.name());
        Some(verdict)
    }
}
