//! Events between services: the envelope, the topology, the brokers, and the one loop that every
//! consumer in the system is.

mod activity;
mod broker;
mod commit;
mod consume;
mod crash;
mod definitions;
mod kept;
mod ladder;
mod ledger;
mod line;
mod memory;

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
mod world;

pub use activity::{Activities, Activity, Busy, Kind};
pub use broker::{
    Broker, BrokerError, Confirm, Deliveries, Delivery, Depth, Lookout, Publication, Publisher,
    Session,
};
pub use commit::{Bisection, Committer, States, Wanted, Work};
pub use consume::{Consumer, Trouble};
pub use crash::{CrashPoint, crash_at};
pub use database::Failure;
pub use definitions::users;
pub use kept::Kept;
pub use ladder::{Ladder, parse_duration};
pub use ledger::{Handled, Ledger, Novelty, Outgoing, Unsent};
pub use line::Line;
pub use memory::{MemoryBroker, MemoryLedger, MemoryTx};

pub use message::{BODY_MAX, Header, Message, header};
pub use postgres::{PgLedger, migrations};
pub use progress::{Progress, Standing};
pub use queue::{Queue, Received};
pub use rabbit::RabbitMq;
pub use relay::{Outbox, Relay};
pub use retry::Retry;
pub use store::{Batch, Known, Store};
pub use topology::{
    Binding, Exchange, ExchangeKind, QueueShape, QueueType, Topology, UNROUTED, dead_letters,
    exchange_of, is_parking, queue_name,
};
pub use world::{RealWorld, World};
