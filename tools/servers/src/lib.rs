//! Runs private Postgres and RabbitMQ servers on this machine, from its distribution's packages: on
//! 127.0.0.1 only, in a directory of the caller's, and never the machine's own servers.
//!
//! ```no_run
//! use servers::{Lifetime, Postgres, PostgresConfig, ports};
//!
//! # async fn example() -> anyhow::Result<()> {
//! servers::install::ensure().await?;
//! let mut postgres = Postgres::start(PostgresConfig {
//!     dir: "target/example/postgres".into(),
//!     port: ports::free()?,
//!     user: "orders".into(),
//!     password: "orders".into(),
//!     database: "orders".into(),
//!     superuser_password: "postgres".into(),
//!     replication: None,
//!     tls: None,
//!     lifetime: Lifetime::bound()?,
//! })
//! .await?;
//! println!("{}", postgres.url());
//! postgres.stop().await?;
//! # Ok(())
//! # }
//! ```

mod account;
pub mod certificates;
mod haproxy;
pub mod install;
mod lifetime;
mod monitoring;
pub mod ports;
mod postgres;
mod process;
mod rabbitmq;
pub mod raw;
pub mod release;
mod running;
pub mod scratch;
mod spawn;
mod tail;
mod until;
mod usage;
mod watchdog;

pub use certificates::{Certificates, SERVER};
pub use haproxy::{HaProxy, HaProxyConfig};
pub use lifetime::Lifetime;
pub use monitoring::{Monitor, Monitoring};
pub use postgres::{Follower, Postgres, PostgresConfig, Replication};
pub use process::Process;
pub use rabbitmq::{Membership, RabbitCluster, RabbitConfig, RabbitMq};
pub use running::Running;
pub use spawn::{background, spawn};
pub use tail::tail;
pub use until::until;
pub use usage::{Memory, cpu_of, memory_of};
pub use watchdog::Watchdog;
