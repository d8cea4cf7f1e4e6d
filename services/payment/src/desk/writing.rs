//! Writes the provider's answers: the payments' new states and events in one transaction.

use super::{Answered, ChargeRepository, Desk, InHand};
use crate::{
    Settings,
    charge_dispatch::ChargeDispatch,
    payment::{Payment, Status},
    verdict::{Verdict, settle},
};
use database::Failure;
use events::{OrderId, ProductId};
use messaging::{
    Batch, Bisection, CrashPoint, Refusals, Reply, Retry, States, Store, Wanted, Work, reply,
};
use reaction::{Decision, Said};
use service::Context;
use telemetry::{metrics, trace_id};
use tokio::sync::mpsc;

impl Desk {
    pub(super) async fn write_down<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        mut answered: mpsc::UnboundedReceiver<InHand>,
    ) {
        let mut waiting = Vec::new();
        while answered.recv_many(&mut waiting, context.batch_max).await > 0 {
            let (answers, hands): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            self.settle(context, answers).await;
            drop(hands);
            self.dispatch.gave_back();
        }
    }

    /// Writes all answers, however long the database is away; when the service stops, leaves them
    /// to the reaper, and so those that the database refuses for longer than a moment: the charge
    /// is then looked up.
    async fn settle<L: ChargeRepository>(&self, context: &Context<L>, answers: Vec<Answered>) {
        let mut retry = Retry::new(context.env.clone());
        let mut refusals = Refusals::new(context.env.clone());
        let mut groups = Bisection::new(answers);
        let activities = &context.health.activities;
        let _waits = activities.begin_wait("the writing of the provider's answers");
        while let Some(group) = groups.next_group() {
            let busy = activities.begin("the writing of the provider's answers");
            let done = self.transact(context, &group).await;
            drop(busy);
            match done {
                Ok(()) => retry.succeeded("the provider's answers are saved again"),
                Err(Failure::Transient(why)) => {
                    retry.failed(&format!("cannot save the provider's answers: {why:#}"));
                    groups.again(group);
                    if !retry.wait(&context.stop).await {
                        return;
                    }
                }
                Err(Failure::Refused(why)) => {
                    let what = format!("cannot save some of the provider's answers: {why:#}");
                    let aside = refusals.refused(&mut groups, group, &what, &context.stop).await;
                    aside.iter().for_each(|answered| answered.is_not_saved(&why));
                    if !aside.is_empty() {
                        let again_after = self.settings.gateway_timeout;
                        context.health.held_up.refused(&format!("{why:#}"), again_after);
                    }
                }
                Err(Failure::Permanent(why)) => {
                    groups.halve(group).iter().for_each(|answered| answered.is_not_saved(&why));
                }
            }
        }
    }

    async fn transact<L: ChargeRepository>(
        &self,
        context: &Context<L>,
        answers: &[Answered],
    ) -> Result<(), Failure> {
        let store = AnsweredPayments {
            repository: context.message_store.clone(),
            dispatch: self.dispatch.clone(),
        };
        let mut answers = Answers { answers, settings: &self.settings, statuses: Vec::new() };
        context.committer(&store).commit(&mut answers).await?;
        answers.statuses.into_iter().for_each(|status| metrics::CHARGES.add(1, [status]));
        Ok(())
    }
}

impl Answered {
    fn is_not_saved(&self, why: &anyhow::Error) {
        let order_id = self.charge.order_id.to_string();
        tracing::error!(order_id, "cannot save a provider's answer: {why:#}");
    }
}

/// Payments as the desk loads and saves them: none is claimed before it is written as due.
struct AnsweredPayments<L> {
    repository: L,
    dispatch: ChargeDispatch,
}

impl<L: ChargeRepository> Store for AnsweredPayments<L> {
    type Tx = L::Tx;
    type State = Payment;
    type Batch = Batch<Payment>;

    fn load(
        &self,
        tx: &mut L::Tx,
        orders: &[OrderId],
        _touched: &[ProductId],
    ) -> Reply<'static, Batch<Payment>> {
        self.repository.load(tx, orders)
    }

    async fn save(&self, tx: &mut L::Tx, payments: &Batch<Payment>) -> Result<(), Failure> {
        self.repository.save(tx, payments).await
    }

    fn committed(&self, payments: Batch<Payment>) {
        self.dispatch.answered(&payments);
    }
}

/// The provider's answers, as a unit of work.
struct Answers<'a> {
    answers: &'a [Answered],
    settings: &'a Settings,
    /// The payments' new states.
    statuses: Vec<&'static str>,
}

impl<L: ChargeRepository> Work<AnsweredPayments<L>, L> for Answers<'_> {
    type Stop = Failure;
    type Locked = ();

    const COMMITTED: CrashPoint = CrashPoint::VerdictCommitted;

    fn wanted(&self) -> Wanted {
        Wanted::orders(self.orders())
    }

    async fn lock<'a>(
        &self,
        message_store: &'a L,
        tx: &mut L::Tx,
    ) -> Result<Reply<'a, ()>, Failure> {
        message_store.lock_orders(tx, &self.orders().collect::<Vec<_>>()).await?;
        Ok(reply(Ok(())))
    }

    fn decide(
        &mut self,
        (): (),
        states: &mut States<'_, AnsweredPayments<L>>,
    ) -> Result<(), Failure> {
        for Answered { charge, verdict } in self.answers {
            let payment = states.get(charge.order_id, &[]);
            let decision = settle(payment, charge, verdict.clone(), self.settings.policy());
            if let Decision::Change { state, says } = decision {
                self.statuses.extend(state.charge.as_ref().map(|charge| charge.status.name()));
                self.log(&state, verdict, &says);
                // The cause of the claimed charge: its trace continues in the call.
                states.change(charge.order_id, state, says, &charge.cause);
            }
        }
        Ok(())
    }
}

impl Answers<'_> {
    fn orders(&self) -> impl Iterator<Item = OrderId> {
        self.answers.iter().map(|answered| answered.charge.order_id)
    }

    fn log(&self, payment: &Payment, verdict: &Verdict, says: &[Said]) {
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
                "refund still failing; it is retried until it succeeds: {error}"
            );
        } else if matches!(verdict, Verdict::Refused { .. }) {
            tracing::error!(
                order_id = %charge.order_id,
                "the provider rejected the request; check PAYMENT_GATEWAY_URL; retrying: {error}"
            );
        } else if matches!(verdict, Verdict::Unauthorised { .. }) {
            tracing::error!(
                order_id = %charge.order_id,
                "the provider does not accept our credentials; it is asked again until it does: \
                 {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests;
