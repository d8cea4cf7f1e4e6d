//! Injects each fault of the plan, repairs it, and measures how long the system takes to recover.

mod bytes;
mod clock;
mod cluster;
mod lies;
mod release;
mod silence;
mod upgrade;
mod weight;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use events::OrderId;
use kit::settings::SERVICES;
use kit::system::{Servers, System};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::fault::{Fault, REPLICAS, Target};
use super::fleet::{Fleet, MEMORY_SHARE};
use super::live::Live;
use super::plan::Step;
use super::proxy::Weather;
use super::tap::Tap;
use super::watch::{Measure, Since};

/// The indexes of payment, which alone calls the provider, and of order.
const PAYMENT: usize = 1;
const ORDER: usize = 0;

/// How long a server may take to start.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A link that carries nothing for so long cannot be disturbed.
const NEXT_QUERY_MAX: Duration = Duration::from_secs(3);

pub fn can_shift_clocks() -> bool {
    clock::library().is_some()
}

/// A step that was injected, or failed.
#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(flatten)]
    pub step: Step,
    /// Since the run began.
    pub at_s: f64,
    /// Includes the wait for recovery.
    pub took_s: f64,
    /// A description of the fault as it was injected.
    pub detail: String,
    pub recoveries: Vec<Recovery>,
    /// Orders that are a part of it, and were answered 201.
    #[serde(skip)]
    pub placed: Vec<OrderId>,
    /// Why it could not be injected, or why the system did not recover.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Recovery {
    pub measure: Measure,
    pub took_s: f64,
}

/// Everything that faults need.
pub struct Hands<'a> {
    pub fleet: &'a mut Fleet,
    pub tap: &'a Tap,
    pub live: &'a Live,
    /// The binaries of the previous release.
    pub previous: Option<&'a Path>,
    recoveries: Vec<Recovery>,
    placed: Vec<OrderId>,
}

impl<'a> Hands<'a> {
    pub const fn new(
        fleet: &'a mut Fleet,
        tap: &'a Tap,
        live: &'a Live,
        previous: Option<&'a Path>,
    ) -> Self {
        Self { fleet, tap, live, previous, recoveries: Vec::new(), placed: Vec::new() }
    }

    /// Errors are part of the returned value.
    pub async fn commit(mut self, step: Step, started: Instant) -> Done {
        let (at_s, began) = (started.elapsed().as_secs_f64(), Instant::now());
        let done = self.carry_out(&step).await;
        let took_s = began.elapsed().as_secs_f64();
        let (detail, error) = match done {
            Ok(detail) => (detail, None),
            Err(why) => (String::new(), Some(format!("{why:#}"))),
        };
        let Self { recoveries, placed, .. } = self;
        Done { step, at_s, took_s, detail, recoveries, placed, error }
    }

    async fn carry_out(&mut self, step: &Step) -> Result<String> {
        match (step.fault, step.target) {
            (Fault::ServiceKill, Target::Replica(place)) => self.kill_service(place, step).await,
            (Fault::ServiceFreeze, Target::Replica(place)) => self.freeze(place, step).await,
            (Fault::ProviderKill, _) => self.kill_provider(step).await,
            (Fault::BrokerKill | Fault::BrokerStop, _) => self.end_broker(step).await,
            (Fault::BrokerFreeze, _) => self.freeze_broker(step).await,
            (Fault::BrokerAlarm, _) => self.alarm(step).await,
            (Fault::PostgresKill | Fault::PostgresStop, Target::Postgres(place)) => {
                self.end_postgres(place, step).await
            }
            (Fault::LinkReset | Fault::LinkHalfOpen | Fault::LinkLatency, _) => {
                self.spoil_link(step).await
            }
            (Fault::Silence, _) => self.silence(step).await,
            (Fault::Bytes, _) => self.bytes(step).await,
            (Fault::Clock, Target::Replica(place)) => self.clock(place, step).await,
            (Fault::Weight, _) => self.weight(step).await,
            (Fault::Lies, _) => self.lies(step).await,
            (Fault::Upgrade, Target::Service(place)) => self.upgrade(place, step).await,
            (Fault::Release, Target::Service(place)) => {
                let previous = self.previous.context("there is no previous release")?;
                self.change_release(place, previous).await
            }
            (Fault::NodeRoll, _) => self.roll_nodes().await,
            (Fault::Failover | Fault::FailoverFreeze, Target::Postgres(place)) => {
                self.fail_over(place, step).await
            }
            (fault, _) if fault.needs_cluster() => self.disturb_node(step).await,
            (fault, _) => self.meddle(fault, step).await,
        }
    }

    fn recovered(&mut self, measure: Measure, took: Duration) {
        self.recoveries.push(Recovery { measure, took_s: took.as_secs_f64() });
    }

    async fn flows(&mut self, since: Since, services: &[usize], measure: Measure) -> Result<()> {
        let took = since.flows(&self.fleet.system.endpoints, services, self.tap, self.live).await?;
        if let Some(took) = took {
            self.recovered(measure, took);
        }
        Ok(())
    }

    async fn kill_service(&mut self, place: usize, step: &Step) -> Result<String> {
        let service = SERVICES[place % SERVICES.len()];
        self.fleet.system.replicas[place].kill().await?;
        // Otherwise the consumers that are counted afterwards might be the old ones.
        Since::now().consumers(&self.fleet.system.endpoints, service, REPLICAS - 1).await?;
        sleep(step.lasts).await;
        let since = Since::now();
        self.fleet.system.replicas[place].start()?;
        let took = since.consuming(&self.fleet.system.endpoints, service).await?;
        self.recovered(Measure::Consuming, took);
        Ok(format!("killed, started {} later", ms(step.lasts)))
    }

    async fn freeze(&mut self, place: usize, step: &Step) -> Result<String> {
        let service = SERVICES[place % SERVICES.len()];
        self.fleet.system.replicas[place].signal(Signal::SIGSTOP)?;
        sleep(step.lasts).await;
        self.fleet.system.replicas[place].signal(Signal::SIGCONT)?;
        Since::now().consuming(&self.fleet.system.endpoints, service).await?;
        Ok(format!("frozen for {}", ms(step.lasts)))
    }

    async fn kill_provider(&mut self, step: &Step) -> Result<String> {
        self.fleet.provider()?.kill().await?;
        sleep(step.lasts).await;
        let since = Since::now();
        self.fleet.provider()?.start()?;
        self.flows(since, &[PAYMENT], Measure::Flows).await?;
        Ok(format!("killed, started {} later", ms(step.lasts)))
    }

    async fn end_broker(&mut self, step: &Step) -> Result<String> {
        let how = if step.fault == Fault::BrokerKill {
            self.fleet.system.servers.rabbitmq_mut().kill().await?;
            "killed"
        } else {
            self.fleet.system.servers.rabbitmq_mut().stop().await?;
            "stopped"
        };
        sleep(step.lasts).await;
        let System { servers, endpoints, .. } = &mut self.fleet.system;
        let ready = Since::broker_answers(&endpoints.amqp_url);
        let (started, since) = tokio::join!(servers.rabbitmq_mut().restart(), ready_within(ready));
        started?;
        self.flows(since?, &ALL, Measure::BrokerFlows).await?;
        Ok(format!("{how}, started {} later", ms(step.lasts)))
    }

    async fn freeze_broker(&mut self, step: &Step) -> Result<String> {
        let (since, node) = (Since::now(), self.fleet.system.servers.rabbitmq().process());
        node.signal(Signal::SIGSTOP);
        let noticed = since.noticed(self.fleet).await;
        sleep(step.lasts).await;
        node.signal(Signal::SIGCONT);
        self.recovered(Measure::Noticed, noticed?);
        self.flows(Since::now(), &ALL, Measure::BrokerFlows).await?;
        Ok("frozen until every service had noticed".to_owned())
    }

    async fn alarm(&mut self, step: &Step) -> Result<String> {
        const TINY: f64 = 0.000_01;
        self.fleet.system.servers.rabbitmq().limit_memory(TINY).await?;
        let is_blocked = self.fleet.system.servers.rabbitmq().has_alarm().await;
        sleep(step.lasts).await;
        self.fleet.system.servers.rabbitmq().limit_memory(MEMORY_SHARE).await?;
        let since = Since::now();
        ensure!(is_blocked?, "RabbitMQ raised no alarm");
        self.flows(since, &ALL, Measure::Flows).await?;
        Ok(format!("no memory left for {}", ms(step.lasts)))
    }

    async fn end_postgres(&mut self, place: usize, step: &Step) -> Result<String> {
        let postgres = &mut self.fleet.system.servers.postgres[place];
        let how = if step.fault == Fault::PostgresKill {
            postgres.kill().await?;
            "killed"
        } else {
            postgres.stop_at_once().await?;
            "stopped at once"
        };
        sleep(step.lasts).await;
        let System { servers: Servers { postgres, .. }, endpoints, .. } = &mut self.fleet.system;
        let ready = Since::database_answers(&endpoints.databases[SERVICES[place]]);
        let (started, since) = tokio::join!(postgres[place].restart(), ready_within(ready));
        started?;
        self.flows(since?, &[place], Measure::DatabaseFlows).await?;
        Ok(format!("{how}, started {} later", ms(step.lasts)))
    }

    async fn spoil_link(&mut self, step: &Step) -> Result<String> {
        let link = self.fleet.link(step.target)?;
        let delay = StdRng::seed_from_u64(step.seed).random_range(20..200);
        let (before, since) = (link.cut(), Since::now());
        link.set(match step.fault {
            Fault::LinkReset => Weather::AnswersLost,
            Fault::LinkHalfOpen => Weather::Silent,
            _ => Weather::Slow(Duration::from_millis(delay)),
        });
        let is_silent = (step.fault, step.target) == (Fault::LinkHalfOpen, Target::Broker);
        let noticed = if is_silent { Some(since.noticed(self.fleet).await) } else { None };
        if !is_silent {
            sleep(step.lasts).await;
        }
        let link = self.fleet.link(step.target)?;
        // A service without messages still queries its database every second.
        let until = Instant::now() + NEXT_QUERY_MAX;
        while step.fault == Fault::LinkReset && link.cut() == before && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        link.set(Weather::Clear);
        let since = Since::now();
        if let Some(noticed) = noticed {
            self.recovered(Measure::Noticed, noticed?);
        }
        self.flows(since, &beyond(step.target), Measure::Flows).await?;
        let cut = self.fleet.link(step.target)?.cut() - before;
        ensure!(step.fault == Fault::LinkLatency || cut > 0, "no connection was in the way");
        Ok(match step.fault {
            Fault::LinkReset => format!("{cut} connections reset before their answers"),
            Fault::LinkHalfOpen => format!("{cut} connections silent, then reset"),
            _ => format!("{delay} ms each way for {}", ms(step.lasts)),
        })
    }

    async fn meddle(&mut self, fault: Fault, step: &Step) -> Result<String> {
        let number = StdRng::seed_from_u64(step.seed).random_range(5..200);
        let (put, what) = match fault {
            Fault::MessageDuplicate => (self.tap.duplicate(number).await, "of the newest messages"),
            Fault::MessageShuffle => {
                (self.tap.shuffle(number, step.seed).await, "of older messages, in any order")
            }
            _ => (self.tap.poison(number / 5, step.seed).await, "of nonsense"),
        };
        let put = put.context("cannot put messages into queues")?;
        self.flows(Since::now(), &ALL, Measure::Flows).await?;
        Ok(format!("{put} deliveries {what}"))
    }
}

/// The services that use a link.
fn beyond(link: Target) -> Vec<usize> {
    match link {
        Target::Postgres(place) => vec![place],
        Target::Customers => vec![ORDER],
        _ => ALL.into(),
    }
}

async fn ready_within(ready: impl Future<Output = Since>) -> Result<Since> {
    timeout(READY_WITHIN, ready).await.context("it lets nobody in after its start")
}

const ALL: [usize; SERVICES.len()] = [0, 1, 2, 3];

fn ms(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
