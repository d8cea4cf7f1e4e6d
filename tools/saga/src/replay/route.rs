//! Finds the event that a queue is for, by its binding.

use anyhow::{Result, bail, ensure};
use audit::{Endpoints, Management};
use events::said_by;
use messaging::exchange_of;
use serde::Deserialize;

/// As the management API shows it.
#[derive(Debug, Deserialize)]
pub struct Binding {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
}

pub async fn bindings(endpoints: &Endpoints) -> Result<Vec<Binding>> {
    let management = Management::at(endpoints)?;
    let path = format!("bindings/{}", management.vhost());
    let columns = "source,destination,destination_type,routing_key";
    management.get(&path, Some(columns)).await
}

/// Only of a bound queue: an event that is published during the replay must get there by itself.
pub fn event_of(queue: &str, bindings: &[Binding]) -> Result<String> {
    let own: Vec<_> = bindings
        .iter()
        .filter(|one| one.destination == queue && one.destination_type == "queue")
        .collect();
    // Each queue is bound to the default exchange.
    ensure!(
        !own.is_empty(),
        "there is no queue {queue}: start its service once, which declares and binds it; \
         `rabbitmqctl list_queues` has the names"
    );
    let is_event = |one: &&&Binding| one.source == exchange_of(said_by(&one.routing_key));
    let events: Vec<_> = own.iter().filter(is_event).map(|one| &one.routing_key).collect();
    match events[..] {
        [event] => Ok(event.clone()),
        [] => bail!(
            "no event goes to {queue}: bind it to its publisher's exchange by the event's name, as \
             its service does when it starts"
        ),
        _ => bail!("{queue} gets several events: a replay is for a queue of one event"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(source: &str, destination: &str, key: &str) -> Binding {
        let (source, destination) = (source.into(), destination.into());
        Binding { source, destination, destination_type: "queue".into(), routing_key: key.into() }
    }

    #[test]
    fn a_queue_is_for_the_event_that_it_is_bound_to() {
        let all = [
            binding("", "loyalty.payment-approved", "loyalty.payment-approved"),
            binding("payment.exchange", "loyalty.payment-approved", "payment.approved"),
            binding("loyalty.dlx", "loyalty.payment-approved", "loyalty.payment-approved"),
            binding("", "loyalty.payment-approved.dlq", "loyalty.payment-approved.dlq"),
            binding("loyalty.dlx", "loyalty.payment-approved.dlq", "loyalty.payment-approved.dlq"),
            binding("", "tap", "tap"),
            binding("payment.exchange", "tap", "#"),
            binding("", "both", "both"),
            binding("payment.exchange", "both", "payment.approved"),
            binding("order.exchange", "both", "order.created"),
        ];
        assert_eq!(event_of("loyalty.payment-approved", &all).unwrap(), "payment.approved");
        let refused = |queue| event_of(queue, &all).unwrap_err().to_string();
        assert!(refused("loyalty.points").starts_with("there is no queue loyalty.points: start"));
        for queue in ["loyalty.payment-approved.dlq", "tap"] {
            assert!(refused(queue).starts_with(&format!("no event goes to {queue}: bind")));
        }
        assert!(refused("both").contains("several events"));
    }
}
