#![doc = include_str!("../README.md")]

mod activity;
mod broker;
mod commit;
mod consume;
mod crash;
mod definitions;
mod env;
mod held_up;
pub mod history;
mod memory;
mod message;
mod message_store;
pub mod partitions;
mod postgres;
mod progress;
mod queue;
mod rabbit;
mod relay;
mod retention;
mod retry;
mod schedule;
mod spans;
mod store;
mod supervisor;
mod topology;
pub mod wire;

use crash::crash_is_due;
use message::BODY_MAX;
use topology::UNROUTED;

pub use activity::{Activities, Activity, Busy, Kind};
pub use broker::{
    Broker, BrokerError, Confirm, Deliveries, Delivery, Depth, Publication, Publisher,
    QueueInspector, Session,
};
pub use commit::{Bisection, Committer, Refusals, States, Wanted, Work};
pub use consume::Consumer;
pub use crash::{CrashPoint, crash_at};
pub use database::Failure;
pub use definitions::users;
pub use env::{Env, SystemEnv};
pub use held_up::HeldUp;
pub use memory::{MemoryBroker, MemoryMessageStore, MemoryTx};
pub use message::{Header, Message, header};
pub use message_store::{Handled, MessageStore, Outgoing, Reply, Seen, Unsent, reply};
pub use postgres::{PgMessageStore, insert_events, migrations};
pub use progress::{ConsumerState, Progress};
pub use queue::{Queue, Received};
pub use rabbit::RabbitMq;
pub use relay::{Outbox, Relay};
pub use retention::{KEEP_DAYS, Retention};
pub use retry::Retry;
pub use schedule::{RetrySchedule, parse_duration};
pub use store::{Batch, LoadedBatch, Store};
pub use supervisor::{SessionSupervisor, SessionTask};
pub use topology::{
    Binding, Exchange, ExchangeKind, QueueShape, QueueType, Topology, dead_letters, exchange_of,
    is_parking, queue_name,
};
