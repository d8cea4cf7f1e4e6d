//! What the provider has said is written down: verdict and event in one transaction.

use super::{Answered, ChargeBook, Desk, InHand};
use crate::{
    payment::{Payment, Status},
    verdict::{Verdict, settle},
};
use database::Failure;
use messaging::{CrashPoint, Known, Outgoing, Patience, crash_at};
use saga::Decision;
use service::Context;
use telemetry::{metrics, trace_id};
use tokio::sync::mpsc;
use uuid::Uuid;

impl Desk {
    pub(super) async fn write_down<L: ChargeBook>(
        &self,
        context: &Context<L>,
        mut answered: mpsc::UnboundedReceiver<InHand>,
    ) {
        let mut waiting = Vec::new();
        while answered.recv_many(&mut waiting, context.batch_max).await > 0 {
            let (answers, permits): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            self.settle(context, answers).await;
            drop(permits);
            self.counter.gave_back();
        }
    }

    /// Writes all answers, however long the database is away; told to stop, it leaves them to the
    /// reaper.
    async fn settle<L: ChargeBook>(&self, context: &Context<L>, answers: Vec<Answered>) {
        let mut patience = Patience::new(context.world.clone());
        let mut groups = vec![answers];
        let activities = &context.health.activities;
        let _waits = activities.begin_wait("the writing of the provider's answers");
        while let Some(group) = groups.pop() {
            let busy = activities.begin("the writing of the provider's answers");
            let done = self.transact(context, &group).await;
            drop(busy);
            match done {
                Ok(()) => patience.relieved("the provider's answers are written"),
                Err(Failure::World(why)) => {
                    patience.complain(&format!("the provider's answers wait: {why:#}"));
                    groups.push(group);
                    tokio::select! {
                        biased;
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

    async fn transact<L: ChargeBook>(
        &self,
        context: &Context<L>,
        answers: &[Answered],
    ) -> Result<(), Failure> {
        let orders: Vec<Uuid> = answers.iter().map(|answered| answered.charge.order_id).collect();
        let mut tx = context.ledger.begin().await?;
        context.ledger.lock_orders(&mut tx, &orders).await?;
        let mut payments = context.ledger.load(&mut tx, &orders).await?;
        let (mut said, mut processed) = (Vec::new(), Vec::new());
        for answered in answers {
            let order = answered.charge.order_id;
            let (payment, verdict) = (payments.of(order, &[]), answered.verdict.clone());
            let policy = self.settings.policy();
            if let Decision::Change { state, says } =
                settle(payment, &answered.charge, verdict, policy)
            {
                // That of the charge in hand, whose trace goes on with the call.
                let cause = Some(answered.charge.cause.clone());
                processed.extend(state.charge.as_ref().map(|charge| charge.status.name()));
                self.log(&state, &answered.verdict, &says);
                payments.keep(order, state);
                let outgoing = |said| Outgoing::new(&*context.world, said, cause.as_ref());
                said.extend(says.into_iter().map(outgoing));
            }
        }
        context.ledger.save(&mut tx, &payments).await?;
        if !said.is_empty() {
            context.ledger.enqueue(&mut tx, &said).await?;
        }
        context.ledger.commit(tx).await?;
        crash_at(CrashPoint::VerdictCommitted);
        context.outbox.wake(said);
        processed.into_iter().for_each(|status| metrics::CHARGES.add(1, [status]));
        self.counter.answered(&payments);
        Ok(())
    }

    fn log(&self, payment: &Payment, verdict: &Verdict, says: &[saga::Said]) {
        let Some(charge) = &payment.charge else {
            return;
        };
        let answer: Vec<_> = says.iter().map(|said| said.event).collect();
        tracing::info!(
            order_id = %charge.order_id,
            event_id = %charge.cause.event_id,
            status = charge.status.name(),
            attempts = charge.attempts,
            trace_id = trace_id(charge.cause.trace.as_deref()),
            answer = answer.join(", "),
            error = charge.last_error,
            "payment is {}",
            charge.status.name()
        );
        let error = charge.last_error.as_deref().unwrap_or_default();
        let is_refund = charge.status == Status::Reversing;
        if is_refund && charge.refund_attempts >= self.settings.refund_warn_after {
            tracing::warn!(
                order_id = %charge.order_id,
                attempts = charge.refund_attempts,
                "a refund waits for the provider, and is asked for until it is given: {error}"
            );
        } else if matches!(verdict, Verdict::Refused { .. }) {
            tracing::error!(
                order_id = %charge.order_id,
                "the provider refuses our request, which waits until somebody mends it; \
                 check PAYMENT_GATEWAY_URL: {error}"
            );
        }
    }
}
