//! The charge desk: claims due charges and refunds, sends all of them to the provider concurrently,
//! and writes each answer and its event in one transaction.

mod repository;
mod writing;

use crate::{
    Settings,
    breaker::Room,
    charge_dispatch::{ChargeDispatch, Hand, Taken},
    gateway::{Gateway, Request},
    metrics::ProviderCall,
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

pub use repository::ChargeRepository;

/// Poll interval: another process may have left due charges.
const POLL_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Desk {
    gateway: Arc<dyn Gateway>,
    dispatch: ChargeDispatch,
    handed: Arc<Mutex<mpsc::UnboundedReceiver<Taken>>>,
    settings: Settings,
}

/// A claimed charge, and the provider's answer.
struct Answered {
    charge: Charge,
    verdict: Verdict,
}

type InHand = (Answered, Hand);

impl Desk {
    pub fn new(gateway: Arc<dyn Gateway>, settings: Settings) -> Self {
        let (dispatch, handed) = ChargeDispatch::new(settings.limits());
        Self { gateway, dispatch, handed: Arc::new(Mutex::new(handed)), settings }
    }

    /// For the reactions.
    pub fn dispatch(&self) -> ChargeDispatch {
        self.dispatch.clone()
    }

    /// Works until the service stops, and then until all claimed charges are written.
    pub async fn run<L: ChargeRepository>(self, context: Context<L>) {
        let (answers, answered) = mpsc::unbounded_channel();
        tokio::join!(
            self.accept(&context, answers.clone()),
            self.take_up(&context, answers),
            self.write_down(&context, answered)
        );
    }

    /// Releases the claims of dead copies, expired ones, and this copy's own that it does not have
    /// in hand: such a charge is looked up, never charged again blindly.
    pub async fn reap<L: ChargeRepository>(self, context: Context<L>) -> anyhow::Result<()> {
        let Context { message_store, batch_max, .. } = &context;
        let is_held = |claim| self.dispatch.holds(claim);
        let left = message_store.put_back(self.settings.reap_after, *batch_max).await;
        let lost = message_store.put_back_lost(self.settings.gateway_timeout, is_held).await;
        let (left, lost) = (left?, lost?);
        if left > 0 {
            crash_at(CrashPoint::ChargePutBack);
            tracing::warn!(
                charges = left,
                "taking over charges that a dead or frozen copy had in hand"
            );
        }
        if lost > 0 {
            tracing::warn!(
                charges = lost,
                "looking up charges that this copy has claimed and does not have in hand"
            );
        }
        if left + lost > 0 {
            self.dispatch.wake();
        }
        Ok(())
    }

    /// Accepts charges from the reactions, until they end.
    async fn accept<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        answers: mpsc::UnboundedSender<InHand>,
    ) {
        let mut handed = self.handed.lock().await;
        loop {
            let taken = tokio::select! {
                biased;
                Some(taken) = handed.recv() => taken,
                () = context.consumers_stopped.cancelled() => return,
            };
            crash_at(CrashPoint::ChargeTaken);
            self.spawn(taken, answers.clone());
        }
    }

    async fn take_up<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        answers: mpsc::UnboundedSender<InHand>,
    ) {
        let mut retry = Retry::new(context.env.clone());
        loop {
            let permit = tokio::select! {
                biased;
                () = context.stop.cancelled() => return,
                permit = self.dispatch.permit() => permit,
            };
            let permits = self.permits(context, permit).await;
            let wait = match permits {
                Ok(permits) => match self.take_due(context, permits, &answers).await {
                    Ok(true) => continue,
                    Ok(false) => {
                        retry.succeeded("the charge desk has resumed");
                        self.idle(context).await
                    }
                    Err(why) => {
                        retry.failed(&format!("the charge desk is paused: {why}"));
                        POLL_EVERY
                    }
                },
                Err(wait) => wait,
            };
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return,
                () = self.dispatch.woken() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// As many permits as the provider can bear; or else the wait until one may be free.
    async fn permits<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        first: OwnedSemaphorePermit,
    ) -> Result<Vec<OwnedSemaphorePermit>, Duration> {
        let allowed = self.allowed(context).await?;
        let room = || allowed.saturating_sub(self.dispatch.in_flight() - 1).min(context.batch_max);
        if room() == 0 {
            self.dispatch.wait_for_room();
        }
        // An answer may have been written just before that.
        let allowed = room();
        if allowed == 0 {
            return Err(POLL_EVERY);
        }
        let mut permits = vec![first];
        while permits.len() < allowed
            && let Some(permit) = self.dispatch.permit_now()
        {
            permits.push(permit);
        }
        Ok(permits)
    }

    /// The number of concurrent calls that the provider may get. While it fails no charge is
    /// claimed, so that waiting costs no attempt.
    async fn allowed<L: ChargeRepository>(&self, context: &Context<L>) -> Result<usize, Duration> {
        match self.dispatch.room() {
            Room::Calls(allowed) => return Ok(allowed),
            Room::Nothing { for_now } => return Err(for_now),
            Room::Probe => {}
        }
        let began = Instant::now();
        let answered = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Err(POLL_EVERY),
            answered = timeout(self.settings.gateway_timeout, self.gateway.probe()) => answered,
        };
        let unknown = |_| Verdict::Unknown { reason: "no answer in time".into() };
        let verdict = answered.unwrap_or_else(unknown);
        metrics::CALLS.record(began.elapsed(), ["probe", verdict.name()]);
        let failed = verdict.is_fault();
        if let Verdict::Unauthorised { reason } = verdict {
            tracing::error!("the provider does not accept our credentials; charges wait: {reason}");
        }
        self.dispatch.probed(failed);
        match self.dispatch.room() {
            Room::Calls(allowed) => {
                tracing::info!(
                    "circuit breaker half-open: the provider answers; resuming charges gradually"
                );
                Ok(allowed)
            }
            Room::Nothing { for_now } => Err(for_now),
            Room::Probe => Err(POLL_EVERY),
        }
    }

    /// Returns whether anything was due.
    async fn take_due<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        permits: Vec<OwnedSemaphorePermit>,
        answers: &mpsc::UnboundedSender<InHand>,
    ) -> Result<bool, database::Failure> {
        let claim = context.env.new_id();
        let held = self.dispatch.hold(claim);
        let began = Instant::now();
        let busy = context.health.activities.begin("the claiming of charges");
        let taken = context.message_store.take_due(claim, permits.len()).await;
        drop(busy);
        metrics::POLLS.record(began.elapsed(), []);
        let charges = taken?;
        if !charges.is_empty() {
            crash_at(CrashPoint::ChargeTaken);
        }
        let any = !charges.is_empty();
        for (charge, permit) in charges.into_iter().zip(permits) {
            let hand = Hand::new(permit, held.clone());
            self.spawn(Taken { charge, hand }, answers.clone());
        }
        Ok(any)
    }

    /// Waits until a charge is due, or a wake-up.
    async fn idle<L: ChargeRepository>(&self, context: &Context<L>) -> Duration {
        let next = context.message_store.next_due_in().await.ok().flatten();
        next.map_or(POLL_EVERY, |next| next.min(POLL_EVERY))
    }

    /// A slow provider delays only its own customer.
    fn spawn(&self, Taken { mut charge, hand }: Taken, answers: mpsc::UnboundedSender<InHand>) {
        let desk = self.clone();
        tokio::spawn(async move {
            let Some(verdict) = desk.ask(&mut charge).await else {
                return;
            };
            let failed = verdict.is_fault();
            if let Some(opened) = desk.dispatch.record(failed) {
                tracing::warn!(
                    failures = opened.failures,
                    calls = opened.calls,
                    "circuit breaker open: the provider is failing; charges wait"
                );
            }
            // The writer lives as long as there is a receiver.
            let _ = answers.send((Answered { charge, verdict }, hand));
        });
    }

    /// Without an answer in time the outcome is unknown.
    async fn ask(&self, charge: &mut Charge) -> Option<Verdict> {
        let refund = charge.status == Status::Reversing;
        let key = if refund { charge.refund_key? } else { charge.charge_key };
        let call = ProviderCall::begin(charge);
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
        call.end(verdict.name());
        Some(verdict)
    }
}
