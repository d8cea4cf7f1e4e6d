//! Measures each process' use of the machine during a load.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use kit::home::Home;
use kit::service::{MOCK_GATEWAY, Service};
use kit::settings::Settings;
use kit::system::Servers;
use serde::Serialize;
use servers::{Memory, Process, cpu_of, memory_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Services,
    Postgres,
    Rabbitmq,
    Provider,
    /// The process that places the orders, which is no part of the system.
    Load,
}

#[derive(Clone, Debug)]
pub struct MeasuredProcess {
    pub name: String,
    pub group: Group,
    pub process: Process,
}

/// Reads the processes' usage; empty where it is not measured.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    parts: Vec<MeasuredProcess>,
}

/// The usage at one moment.
pub struct Reading {
    system: Vec<Duration>,
    own: Duration,
}

#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    pub parts: Vec<Used>,
    pub groups: BTreeMap<Group, Sum>,
    /// Of the system, without the process that places the orders.
    pub total: Sum,
}

#[derive(Clone, Debug, Serialize)]
pub struct Used {
    pub name: String,
    pub group: Group,
    #[serde(flatten)]
    pub sum: Sum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    pub cpu_s: f64,
    pub cpu_s_per_1000_orders: f64,
    pub rss_mb: f64,
    pub pss_mb: f64,
}

impl Meter {
    /// The processes that `up` has started; none, where the system runs in containers.
    pub fn on(settings: &Settings) -> Result<Self> {
        let mut parts = Vec::new();
        let services =
            Service::all(settings)?.into_iter().chain([Service::mock_gateway(settings)?]);
        for service in services {
            let group =
                if service.name == MOCK_GATEWAY { Group::Provider } else { Group::Services };
            let part = |process| MeasuredProcess { name: service.name.to_owned(), group, process };
            parts.extend(service.running().map(part));
        }
        let servers = Home::new(settings).servers()?;
        let (postgres, rabbitmq) = (servers.postgres.into_iter(), servers.rabbitmq.into_iter());
        let postgres =
            postgres.map(|one| (one.name, Group::Postgres, one.running.map(|it| it.process())));
        let rabbitmq =
            rabbitmq.map(|one| (one.name, Group::Rabbitmq, one.running.map(|it| it.process())));
        for (name, group, process) in postgres.chain(rabbitmq) {
            parts.extend(process.map(|process| MeasuredProcess { name, group, process }));
        }
        Ok(Self::of(parts))
    }

    pub const fn of(parts: Vec<MeasuredProcess>) -> Self {
        Self { parts }
    }

    fn processes(&self) -> Vec<Process> {
        self.parts.iter().map(|part| part.process).collect()
    }

    pub fn read(&self) -> Reading {
        let own = this().map_or(Duration::ZERO, |this| this.own_cpu());
        Reading { system: cpu_of(&self.processes()), own }
    }

    /// The usage since then, for this many orders.
    pub fn since(&self, before: &Reading, orders: usize) -> Usage {
        let now = self.read();
        let memory = memory_of(&self.processes());
        let cpu =
            now.system.iter().zip(&before.system).map(|(now, then)| now.saturating_sub(*then));
        let own = this().and_then(|this| this.own_memory()).unwrap_or_default();
        let mut parts: Vec<_> = (self.parts.iter().zip(cpu).zip(memory))
            .map(|((part, cpu), memory)| (part.name.clone(), part.group, cpu, memory))
            .collect();
        parts.push(("lab load".into(), Group::Load, now.own.saturating_sub(before.own), own));
        let parts = parts.into_iter().map(|(name, group, cpu, memory)| {
            let sum = Sum::of(cpu, memory, orders);
            Used { name, group, sum }
        });
        Usage::of(parts.collect())
    }
}

impl MeasuredProcess {
    /// The databases and the nodes of the broker.
    pub fn of(servers: &Servers) -> impl Iterator<Item = Self> {
        let databases = servers.settings.databases.iter().zip(&servers.postgres);
        let databases = databases.map(|(database, postgres)| Self {
            name: format!("postgres {}", database.service),
            group: Group::Postgres,
            process: postgres.process(),
        });
        let nodes = servers.brokers.nodes.iter().map(|node| Self {
            name: "rabbitmq".into(),
            group: Group::Rabbitmq,
            process: node.process(),
        });
        databases.chain(nodes)
    }
}

impl Usage {
    fn of(parts: Vec<Used>) -> Self {
        let mut groups: BTreeMap<Group, Sum> = BTreeMap::new();
        for Used { group, sum, .. } in &parts {
            groups.entry(*group).or_default().add(*sum);
        }
        let mut total = Sum::default();
        groups
            .iter()
            .filter(|(group, _)| **group != Group::Load)
            .for_each(|(_, sum)| total.add(*sum));
        Self { parts, groups, total }
    }
}

impl Sum {
    fn of(cpu: Duration, Memory { rss_kb, pss_kb }: Memory, orders: usize) -> Self {
        let cpu_s = cpu.as_secs_f64();
        let cpu_s_per_1000_orders = cpu_s * 1000.0 / orders.max(1) as f64;
        let [rss_mb, pss_mb] = [rss_kb, pss_kb].map(|kb| kb as f64 / 1024.0);
        Self { cpu_s, cpu_s_per_1000_orders, rss_mb, pss_mb }
    }

    fn add(&mut self, other: Self) {
        self.cpu_s += other.cpu_s;
        self.cpu_s_per_1000_orders += other.cpu_s_per_1000_orders;
        self.rss_mb += other.rss_mb;
        self.pss_mb += other.pss_mb;
    }
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Postgres => "postgres",
            Self::Rabbitmq => "rabbitmq",
            Self::Provider => "provider",
            Self::Load => "load",
        }
    }
}

fn this() -> Option<Process> {
    Process::of(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(name: &str, group: Group, cpu_ms: u64, mb: u64) -> Used {
        let memory = Memory { rss_kb: mb * 2048, pss_kb: mb * 1024 };
        Used { name: name.into(), group, sum: Sum::of(Duration::from_millis(cpu_ms), memory, 500) }
    }

    #[test]
    fn who_places_the_orders_is_no_part_of_the_system() {
        let usage = Usage::of(vec![
            used("order", Group::Services, 300, 20),
            used("payment", Group::Services, 200, 10),
            used("rabbitmq", Group::Rabbitmq, 500, 100),
            used("lab load", Group::Load, 100, 30),
        ]);
        let services = usage.groups[&Group::Services];
        assert_eq!((services.cpu_s, services.cpu_s_per_1000_orders), (0.5, 1.0));
        assert_eq!((services.pss_mb, services.rss_mb), (30.0, 60.0));
        assert_eq!((usage.total.cpu_s, usage.total.pss_mb), (1.0, 130.0));
    }

    #[test]
    fn a_part_is_measured_from_one_reading_to_the_next() {
        let process = this().expect("this process runs");
        let meter = Meter::of(vec![MeasuredProcess {
            name: "this".into(),
            group: Group::Services,
            process,
        }]);
        let before = meter.read();
        while meter.read().own < before.own + Duration::from_millis(50) {}
        let usage = meter.since(&before, 1000);
        let [part, load] = &usage.parts[..] else { panic!("{usage:?}") };
        // Counted in hundredths, and one after the other.
        assert!(part.sum.cpu_s >= 0.03 && load.sum.cpu_s >= 0.03, "{usage:?}");
        assert!(part.sum.pss_mb > 0.0 && load.sum.cpu_s == load.sum.cpu_s_per_1000_orders);
    }
}
