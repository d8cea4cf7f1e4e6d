//! Derives exchanges, queues and bindings from `SAGA`.

use crate::{Header, RetrySchedule, header};
use events::{SAGA, SERVICES, said_by};
use std::{collections::BTreeSet, str::FromStr};

pub fn exchange_of(service: &str) -> String {
    format!("{service}.exchange")
}

/// The queue in which a service consumes an event.
pub fn queue_name(service: &str, event: &str) -> String {
    format!("{service}.{}", event.replace('.', "-"))
}

/// The queue for a queue's dead letters.
pub fn dead_letters(queue: &str) -> String {
    format!("{queue}.dlq")
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The service that owns it: connections are named after it.
    pub service: String,
    pub exchanges: Vec<Exchange>,
    pub queues: Vec<(String, QueueShape)>,
    pub bindings: Vec<Binding>,
    pub queue_type: QueueType,
}

/// How the broker stores a queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// Confirmed when a majority of its nodes has it on disk.
    #[default]
    Quorum,
    /// On one node, and confirmed before it is on disk: for comparison in benchmarks, not for
    /// production.
    Classic,
}

impl QueueType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl FromStr for QueueType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Quorum, Self::Classic];
        let named = all.into_iter().find(|one| one.name() == text);
        named.ok_or_else(|| format!("{text:?} is no type of queue: it is quorum or classic"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    pub kind: ExchangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// A service's events.
    Topic,
    /// A service's retry tiers, distinguished by the header `delay`.
    Headers,
    /// The way to the dead letters, and from a tier back to its queue.
    Direct,
    /// Takes what the direct ones cannot route, with any key.
    Fanout,
}

/// What a queue is; what may change later (delivery limits) is a policy and not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueShape {
    /// A reaction's messages. The broker dead-letters to this exchange and key.
    Main { dead_exchange: String, dead_key: String },
    /// Holds messages for a while, then returns them by their own key.
    Tier { wait_ms: u64, back_exchange: String },
    /// Keeps its messages until an operator decides.
    Parked,
}

impl QueueShape {
    /// As the broker gets them.
    pub fn arguments(&self, queue_type: QueueType) -> Vec<(&'static str, Header)> {
        let mut arguments: Vec<(&str, Header)> = vec![
            ("x-queue-type", queue_type.name().into()),
            ("x-overflow", "reject-publish".into()),
        ];
        if queue_type == QueueType::Quorum && *self != Self::Parked {
            arguments.push(("x-dead-letter-strategy", "at-least-once".into()));
        }
        match self {
            Self::Main { dead_exchange, dead_key } => arguments.extend([
                ("x-dead-letter-exchange", dead_exchange.as_str().into()),
                ("x-dead-letter-routing-key", dead_key.as_str().into()),
            ]),
            Self::Tier { wait_ms, back_exchange } => arguments.extend([
                ("x-message-ttl", wait_ms.cast_signed().into()),
                ("x-dead-letter-exchange", back_exchange.as_str().into()),
            ]),
            Self::Parked => {}
        }
        arguments
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    pub exchange: String,
    pub queue: String,
    /// Routing key, or the value of the header `delay` for a headers exchange.
    pub key: String,
}

impl Binding {
    /// As the broker gets them.
    pub fn arguments(&self) -> Vec<(&'static str, Header)> {
        if !self.exchange.ends_with(".retry") {
            return Vec::new();
        }
        vec![("x-match", "all".into()), (header::DELAY, self.key.as_str().into())]
    }
}

/// Takes a dead letter whose own queue is missing.
pub const UNROUTED: &str = "unrouted";

/// Whether it is a queue of dead letters; messages in all others are under way.
pub fn is_parking(queue: &str) -> bool {
    queue.ends_with(".dlq") || queue == UNROUTED
}

impl Topology {
    /// Everything that a service needs: all queues (its events must reach also a consumer that has
    /// never run), its own retry tiers, and queues for events that it consumes beyond `SAGA`.
    pub fn of(service: &str, hears: &[&str], schedule: &RetrySchedule) -> Self {
        let mut topology = Self { service: service.into(), ..Self::default() };
        let services: BTreeSet<&str> = SERVICES
            .iter()
            .copied()
            .chain([service])
            .chain(hears.iter().map(|e| said_by(e)))
            .collect();
        for name in services {
            topology.service_exchanges(name);
        }
        // Exchange and queue share a name: a policy makes it every `.dlx`'s alternate.
        topology.exchanges.push(Exchange { name: UNROUTED.into(), kind: ExchangeKind::Fanout });
        topology.queues.push((UNROUTED.into(), QueueShape::Parked));
        topology.bind(UNROUTED, UNROUTED, "");

        let own = hears.iter().map(|event| (service, *event));
        let pairs: BTreeSet<_> =
            SAGA.iter().map(|step| (step.service, step.hears)).chain(own).collect();
        for (hearer, event) in pairs {
            topology.reaction(hearer, event);
        }
        topology.tiers(service, schedule);
        topology
    }

    /// The whole demo's topology, for an import into a new broker.
    pub fn whole(schedule: &RetrySchedule) -> Self {
        let mut topology = Self::of(SERVICES[0], &[], schedule);
        for service in &SERVICES[1..] {
            topology.tiers(service, schedule);
        }
        topology
    }

    /// The same with what a service beside the saga needs.
    #[must_use]
    pub fn and(mut self, service: &str, hears: &[&str], schedule: &RetrySchedule) -> Self {
        for name in hears.iter().map(|event| said_by(event)).chain([service]) {
            if !self.exchanges.iter().any(|exchange| exchange.name == exchange_of(name)) {
                self.service_exchanges(name);
            }
        }
        for event in hears {
            self.reaction(service, event);
        }
        self.tiers(service, schedule);
        self
    }

    /// The queues from which its service consumes.
    pub fn consumed(&self) -> impl Iterator<Item = &str> {
        let own = format!("{}.", self.service);
        self.queues.iter().filter_map(move |(name, shape)| {
            let heard = matches!(shape, QueueShape::Main { .. }) && name.starts_with(&own);
            heard.then_some(name.as_str())
        })
    }

    #[must_use]
    pub fn with(self, queue_type: QueueType) -> Self {
        Self { queue_type, ..self }
    }

    fn service_exchanges(&mut self, service: &str) {
        let suffixes = [
            ("exchange", ExchangeKind::Topic),
            ("retry", ExchangeKind::Headers),
            ("dlx", ExchangeKind::Direct),
        ];
        for (suffix, kind) in suffixes {
            self.exchanges.push(Exchange { name: format!("{service}.{suffix}"), kind });
        }
    }

    fn reaction(&mut self, service: &str, event: &str) {
        let queue = queue_name(service, event);
        let (dlx, dlq) = (format!("{service}.dlx"), dead_letters(&queue));
        let main = QueueShape::Main { dead_exchange: dlx.clone(), dead_key: dlq.clone() };
        self.queues.push((queue.clone(), main));
        self.queues.push((dlq.clone(), QueueShape::Parked));
        self.bind(&exchange_of(said_by(event)), &queue, event);
        self.bind(&dlx, &queue, &queue);
        self.bind(&dlx, &dlq, &dlq);
    }

    fn tiers(&mut self, service: &str, schedule: &RetrySchedule) {
        for tier in schedule.tiers() {
            let name = RetrySchedule::name(*tier);
            let queue = format!("{service}.retry.{name}");
            let wait_ms = u64::try_from(tier.as_millis()).unwrap_or(u64::MAX);
            let shape = QueueShape::Tier { wait_ms, back_exchange: format!("{service}.dlx") };
            self.queues.push((queue.clone(), shape));
            self.bind(&format!("{service}.retry"), &queue, &name);
        }
    }

    fn bind(&mut self, exchange: &str, queue: &str, key: &str) {
        self.bindings.push(Binding {
            exchange: exchange.into(),
            queue: queue.into(),
            key: key.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_queue_that_hears_it_and_a_place_for_its_dead() {
        let topology = Topology::whole(&RetrySchedule::default());
        for step in SAGA {
            let queue = queue_name(step.service, step.hears);
            let binding = Binding {
                exchange: exchange_of(said_by(step.hears)),
                queue: queue.clone(),
                key: step.hears.into(),
            };
            assert!(topology.bindings.contains(&binding), "{step:?}");
            let dead = (dead_letters(&queue), QueueShape::Parked);
            assert!(topology.queues.contains(&dead), "{step:?}");
        }
        assert_eq!(topology.queues.len(), SAGA.len() * 2 + SERVICES.len() * 3 + 1);
    }

    #[test]
    fn what_no_dead_letter_queue_takes_has_somewhere_to_go() {
        let topology = Topology::whole(&RetrySchedule::default());
        let exchange = Exchange { name: UNROUTED.into(), kind: ExchangeKind::Fanout };
        assert!(topology.exchanges.contains(&exchange), "the policy names an exchange");
        let is_bound =
            |binding: &Binding| binding.exchange == UNROUTED && binding.queue == UNROUTED;
        assert!(topology.bindings.iter().any(is_bound));
    }

    #[test]
    fn classic_queues_are_asked_for_nothing_that_only_quorum_queues_have() {
        let arguments = |queue_type| {
            let topology = Topology::whole(&RetrySchedule::default()).with(queue_type);
            let shapes = topology.queues.into_iter().map(|(_, shape)| shape);
            shapes.flat_map(move |shape| shape.arguments(queue_type)).collect::<Vec<_>>()
        };
        let (quorum, classic) = (arguments(QueueType::Quorum), arguments(QueueType::Classic));
        assert!(quorum.contains(&("x-dead-letter-strategy", "at-least-once".into())));
        assert!(classic.iter().all(|(name, _)| *name != "x-dead-letter-strategy"));
        let of = |all: &[(&str, Header)], name| all.iter().filter(|(n, _)| *n == name).count();
        for name in ["x-queue-type", "x-dead-letter-exchange", "x-message-ttl"] {
            assert_eq!(of(&classic, name), of(&quorum, name), "{name}");
        }
        assert!(!classic.contains(&("x-queue-type", "quorum".into())));
        assert_eq!("classic".parse(), Ok(QueueType::Classic));
        assert!("lazy".parse::<QueueType>().unwrap_err().contains("quorum or classic"));
    }

    #[test]
    fn what_is_parked_is_told_from_what_is_on_its_way() {
        assert!(is_parking("order.payment-failed.dlq") && is_parking(UNROUTED));
        assert!(!is_parking("order.payment-failed") && !is_parking("order.retry.5s"));
    }

    #[test]
    fn a_fifth_service_brings_its_own_queues() {
        let topology = Topology::of("loyalty", &["payment.approved"], &RetrySchedule::default());
        let names: Vec<_> = topology.queues.iter().map(|(name, _)| name.as_str()).collect();
        let schedule = RetrySchedule::default();
        let whole = Topology::whole(&schedule).and("loyalty", &["payment.approved"], &schedule);
        assert!(topology.queues.iter().all(|queue| whole.queues.contains(queue)));
        assert!(topology.bindings.iter().all(|binding| whole.bindings.contains(binding)));
        assert!(topology.exchanges.iter().all(|exchange| whole.exchanges.contains(exchange)));
        assert!(names.contains(&"loyalty.payment-approved"));
        assert!(names.contains(&"loyalty.retry.30s"));
        assert!(
            names.contains(&"order.payment-approved"),
            "the others' queues are made sure of too"
        );
    }
}
