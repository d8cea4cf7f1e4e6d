//! Events between services: the envelope, the topology, the brokers, and the one consumer loop of
//! all services.

mod activity;
mod broker;
mod commit;
mod consume;
mod crash;
mod definitions;
mod memory;
mod message_store;
mod retention;
mod schedule;
mod supervisor;

mod env;
pub mod history;
mod message;
pub mod partitions;
mod postgres;
mod progress;
mod queue;
mod rabbit;
mod relay;
mod retry;
mod spans;
mod store;
mod topology;
pub mod wire;

pub use activity::{Activities, Activity, Busy, Kind};
pub use broker::{
    Broker, BrokerError, Confirm, Deliveries, Delivery, Depth, Publication, Publisher,
    QueueInspector, Session,
};
pub use commit::{Bisection, Committer, States, Wanted, Work};
pub use consume::{Consumer, Trouble};
pub use crash::{CrashPoint, crash_at, crash_is_due};
pub use database::Failure;
pub use definitions::users;
pub use memory::{MemoryBroker, MemoryMessageStore, MemoryTx};
pub use message_store::{Handled, MessageStore, Outgoing, Reply, Seen, Unsent, reply};
pub use retention::Retention;
pub use schedule::{RetrySchedule, parse_duration};
pub use supervisor::{SessionSupervisor, SessionTask};

pub use env::{Env, SystemEnv};
pub use message::{BODY_MAX, Header, Message, header};
pub use postgres::{PgMessageStore, insert_events, migrations};
pub use progress::{ConsumerState, Progress};
pub use queue::{Queue, Received};
pub use rabbit::RabbitMq;
pub use relay::{Outbox, Relay};
pub use retry::Retry;
pub use store::{Batch, LoadedBatch, Store};
pub use topology::{
    Binding, Exchange, ExchangeKind, QueueShape, QueueType, Topology, UNROUTED, dead_letters,
    exchange_of, is_parking, queue_name,
};
