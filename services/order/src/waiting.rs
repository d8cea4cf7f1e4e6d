//! Determines what an open order waits for: the service that owes the next step, and whether that
//! step can still happen by itself.

use crate::order::{Cancel, Order};
use chrono::{DateTime, SecondsFormat, Utc};
use events::{Observed, PendingStep, SAGA, pending_steps};
use serde::{Serialize, Serializer};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The service that owes the next step.
    pub service: &'static str,
    /// The event that caused it.
    pub after: &'static str,
    #[serde(rename = "for")]
    pub answers: &'static [&'static str],
    #[serde(serialize_with = "millis")]
    pub since: DateTime<Utc>,
    /// Its compensation has made no progress for as long as a whole order may take.
    pub stuck: bool,
}

impl Waiting {
    /// `deadline` is when an order should be final; zero is never.
    pub fn of(order: &Order, now: DateTime<Utc>, deadline: Duration) -> Vec<Self> {
        if order.status().is_final() {
            return Vec::new();
        }
        let late = !deadline.is_zero() && order.updated_at().is_some_and(|at| at < now - deadline);
        let stuck = late && order.cancel() == Cancel::UnderWay;
        // Order does not know what other services have consumed: a published event counts as
        // consumed.
        let said = order.timeline().iter().map(|fact| fact.event.to_owned()).collect();
        let heard = SAGA.iter().map(|step| (step.service.to_owned(), step.hears.to_owned()));
        let debts = pending_steps(&Observed { said, heard: heard.collect() }).into_iter();
        let waiting = debts.filter_map(|debt| {
            let (PendingStep::Handle(step) | PendingStep::Answer(step)) = debt;
            let (service, after, answers) = (step.service, step.hears, step.may_say);
            let since = order.fact(after)?.at;
            Some(Self { service, after, answers, since, stuck })
        });
        waiting.collect()
    }
}

/// As every moment is shown to a client.
pub fn millis<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Fact;
    use chrono::TimeDelta;
    use events::EventId;
    use serde_json::Value;

    const DEADLINE: Duration = Duration::from_mins(10);

    fn after(events: &[&'static str]) -> Order {
        Order::new(events.iter().zip(0..).map(|(event, number)| Fact {
            event,
            event_id: EventId::from_u128(number),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(number).unwrap()),
            caused_by: None,
            detail: Value::Null,
        }))
    }

    fn waits(order: &Order, minutes: i64) -> Vec<(&'static str, bool)> {
        let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        Waiting::of(order, now, DEADLINE).iter().map(|one| (one.service, one.stuck)).collect()
    }

    #[test]
    fn who_owes_the_next_step_is_told_until_the_order_is_final() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["order.created"], &["payment"]),
            (&["order.created", "payment.approved"], &["inventory"]),
            (&["order.created", "payment.approved", "inventory.failed"], &["payment"]),
            (&["order.created", "payment.failed"], &[]),
            (
                &["order.created", "payment.approved", "inventory.reserved", "shipping.scheduled"],
                &[],
            ),
        ];
        for (events, services) in cases {
            let order = after(events);
            let told: Vec<_> = waits(&order, 1).into_iter().map(|(service, _)| service).collect();
            assert_eq!(told, services, "{events:?}");
        }
    }

    #[test]
    fn what_is_being_undone_and_makes_no_progress_is_stuck() {
        let asked = after(&["order.created", "order.cancel-requested"]);
        assert_eq!(waits(&asked, 9), [("payment", false)]);
        assert_eq!(waits(&asked, 11), [("payment", true)]);
        // One that is only late will ask for its own cancellation.
        assert_eq!(waits(&after(&["order.created"]), 60), [("payment", false)]);
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert!(!Waiting::of(&asked, now, Duration::ZERO)[0].stuck, "there is no deadline");
    }
}
