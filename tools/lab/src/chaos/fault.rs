//! Defines the faults, and the targets of each.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use kit::settings::SERVICES;
use serde::{Serialize, Serializer};

/// The number of copies of each service.
pub const REPLICAS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    ServiceKill,
    ServiceFreeze,
    ProviderKill,
    BrokerKill,
    BrokerStop,
    BrokerFreeze,
    BrokerAlarm,
    PostgresKill,
    PostgresStop,
    LinkReset,
    LinkHalfOpen,
    LinkLatency,
    MessageDuplicate,
    MessageShuffle,
    MessagePoison,
    /// The open connections of a link lose all data from now on, for ever.
    Silence,
    /// Messages that no service would publish, into every queue.
    Bytes,
    /// A replica whose clock is wrong.
    Clock,
    /// Large orders while the broker is silent.
    Weight,
    /// A provider with wrong answers.
    Lies,
    /// A service on the next release's schema, which publishes the next release's events.
    Upgrade,
    /// The previous release in place of this one, or the other way round.
    Release,
    // The rest is for a cluster.
    NodeKill,
    NodeFreeze,
    /// All nodes, one after the other, as for an upgrade.
    NodeRoll,
    /// Of the node that leads most queues.
    LeaderKill,
    LeaderFreeze,
    /// A node that does not reach the others.
    Partition,
    Failover,
    /// The primary is not killed, but frozen.
    FailoverFreeze,
}

/// The number of nodes in a cluster.
const NODES: usize = 3;

impl Fault {
    pub const OF_CLUSTERS: [Self; 8] = [
        Self::NodeKill,
        Self::NodeFreeze,
        Self::NodeRoll,
        Self::LeaderKill,
        Self::LeaderFreeze,
        Self::Partition,
        Self::Failover,
        Self::FailoverFreeze,
    ];

    pub const ALL: [Self; 22] = [
        Self::ServiceKill,
        Self::ServiceFreeze,
        Self::ProviderKill,
        Self::BrokerKill,
        Self::BrokerStop,
        Self::BrokerFreeze,
        Self::BrokerAlarm,
        Self::PostgresKill,
        Self::PostgresStop,
        Self::LinkReset,
        Self::LinkHalfOpen,
        Self::LinkLatency,
        Self::MessageDuplicate,
        Self::MessageShuffle,
        Self::MessagePoison,
        Self::Silence,
        Self::Bytes,
        Self::Clock,
        Self::Weight,
        Self::Lies,
        Self::Upgrade,
        Self::Release,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceKill => "service-kill",
            Self::ServiceFreeze => "service-freeze",
            Self::ProviderKill => "provider-kill",
            Self::BrokerKill => "broker-kill",
            Self::BrokerStop => "broker-stop",
            Self::BrokerFreeze => "broker-freeze",
            Self::BrokerAlarm => "broker-alarm",
            Self::PostgresKill => "postgres-kill",
            Self::PostgresStop => "postgres-stop",
            Self::LinkReset => "link-reset",
            Self::LinkHalfOpen => "link-half-open",
            Self::LinkLatency => "link-latency",
            Self::MessageDuplicate => "message-duplicate",
            Self::MessageShuffle => "message-shuffle",
            Self::MessagePoison => "message-poison",
            Self::Silence => "silence",
            Self::Bytes => "bytes",
            Self::Clock => "clock",
            Self::Weight => "weight",
            Self::Lies => "lies",
            Self::Upgrade => "upgrade",
            Self::Release => "release",
            Self::NodeKill => "node-kill",
            Self::NodeFreeze => "node-freeze",
            Self::NodeRoll => "node-roll",
            Self::LeaderKill => "leader-kill",
            Self::LeaderFreeze => "leader-freeze",
            Self::Partition => "partition",
            Self::Failover => "failover",
            Self::FailoverFreeze => "failover-freeze",
        }
    }

    /// Its duration in milliseconds; where it lasts until it is noticed, counted from then.
    pub const fn lasts_ms(self) -> RangeInclusive<u64> {
        match self {
            Self::ServiceKill | Self::ProviderKill => 200..=2_000,
            Self::ServiceFreeze => 1_000..=15_000,
            Self::BrokerKill | Self::BrokerStop | Self::PostgresKill | Self::PostgresStop => {
                0..=6_000
            }
            Self::BrokerFreeze => 0..=1_000,
            Self::BrokerAlarm | Self::LinkLatency | Self::LinkHalfOpen => 2_000..=8_000,
            Self::LinkReset => 300..=2_000,
            Self::MessageDuplicate
            | Self::MessageShuffle
            | Self::MessagePoison
            | Self::Silence
            | Self::Bytes => 0..=0,
            Self::Clock | Self::Lies => 4_000..=12_000,
            Self::Weight => 5_000..=15_000,
            Self::Upgrade => 1_000..=2_000,
            Self::NodeKill | Self::LeaderKill | Self::Partition => 3_000..=15_000,
            Self::NodeFreeze | Self::LeaderFreeze => 5_000..=25_000,
            Self::NodeRoll | Self::Release => 0..=0,
            Self::Failover | Self::FailoverFreeze => 0..=3_000,
        }
    }

    pub fn needs_cluster(self) -> bool {
        Self::OF_CLUSTERS.contains(&self)
    }

    /// Whether it can be injected where there are several servers of each kind, and no proxies.
    pub fn fits_cluster(self) -> bool {
        matches!(
            self,
            Self::ServiceKill
                | Self::ServiceFreeze
                | Self::ProviderKill
                | Self::MessageDuplicate
                | Self::MessageShuffle
                | Self::MessagePoison
                | Self::Lies
        ) || self.needs_cluster()
    }

    /// Its possible targets.
    pub fn targets(self) -> Vec<Target> {
        let postgres = (0..SERVICES.len()).map(Target::Postgres);
        match self {
            Self::ServiceKill | Self::ServiceFreeze | Self::Clock => {
                (0..SERVICES.len() * REPLICAS).map(Target::Replica).collect()
            }
            Self::ProviderKill | Self::Lies => vec![Target::Provider],
            Self::Upgrade | Self::Release => (0..SERVICES.len()).map(Target::Service).collect(),
            Self::PostgresKill | Self::PostgresStop | Self::Failover | Self::FailoverFreeze => {
                postgres.collect()
            }
            Self::NodeKill | Self::NodeFreeze | Self::Partition => {
                (0..NODES).map(Target::Node).collect()
            }
            Self::Silence => postgres.chain([Target::Broker; SERVICES.len()]).collect(),
            // The broker's links as often as those of all databases together.
            Self::LinkReset | Self::LinkHalfOpen | Self::LinkLatency => {
                let broker = [Target::Broker; SERVICES.len()];
                postgres.chain(broker).chain([Target::Customers]).collect()
            }
            _ => vec![Target::Broker],
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Broker,
    /// One of RabbitMQ's nodes, from 0.
    Node(usize),
    Provider,
    /// By the index of its service.
    Postgres(usize),
    /// Each service's first, then each one's second.
    Replica(usize),
    /// Both copies of a service, and its database.
    Service(usize),
    /// The customers' link to the order service.
    Customers,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker => out.write_str("rabbitmq"),
            Self::Node(place) => write!(out, "rabbitmq {}", place + 1),
            Self::Provider => out.write_str("provider"),
            Self::Postgres(place) => write!(out, "postgres {}", SERVICES[*place]),
            Self::Replica(place) => {
                let (service, copy) = (place % SERVICES.len(), place / SERVICES.len() + 1);
                write!(out, "{} {copy}", SERVICES[service])
            }
            Self::Service(place) => out.write_str(SERVICES[*place]),
            Self::Customers => out.write_str("customers"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The chosen faults: names, or the first words of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Default for Faults {
    fn default() -> Self {
        Self(Fault::ALL.into())
    }
}

impl FromStr for Faults {
    type Err = String;

    /// `broker,postgres-kill`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut chosen = Vec::new();
        for name in text.split(',').map(str::trim) {
            let is_meant = |fault: &Fault| {
                name == fault.name() || fault.name().split('-').next() == Some(name)
            };
            let all = || Fault::ALL.into_iter().chain(Fault::OF_CLUSTERS);
            let found: Vec<_> = all().filter(is_meant).collect();
            if found.is_empty() {
                let known = all().map(Fault::name).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "{name:?} is no fault; there are {known}; the first word alone means all of a \
                     kind, such as broker"
                ));
            }
            chosen.extend(found);
        }
        chosen.sort_unstable();
        chosen.dedup();
        let chosen = Self(chosen);
        match chosen.0.iter().find(|fault| chosen.need_cluster() && !fault.fits_cluster()) {
            Some(other) => Err(format!(
                "{} needs a single node, others of these a cluster: run them apart",
                other.name()
            )),
            None => Ok(chosen),
        }
    }
}

impl Faults {
    pub fn need_cluster(&self) -> bool {
        self.0.iter().any(|fault| fault.needs_cluster())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_one_by_one_or_by_their_first_word() {
        let faults: Faults = "postgres, broker-kill,broker-kill".parse().unwrap();
        assert_eq!(faults.0, [Fault::BrokerKill, Fault::PostgresKill, Fault::PostgresStop]);
        let faults: Faults = "node,service-kill".parse().unwrap();
        assert!(faults.need_cluster() && faults.0.len() == 4);
        assert!("node,link".parse::<Faults>().unwrap_err().starts_with("link-reset needs"));
        let unknown = "broker,earthquake".parse::<Faults>().unwrap_err();
        assert!(unknown.starts_with("\"earthquake\" is no fault; there are service-kill, "));
        assert!(unknown.contains("message-poison"));
    }
}
