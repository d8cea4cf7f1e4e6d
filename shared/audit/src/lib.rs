//! Checks the invariants of the whole system: the invariants as code, the snapshot that they read,
//! and, with the feature `verify`, reading and checking of a running system.

mod invariants;
mod scope;
mod snapshot;

#[cfg(feature = "verify")]
mod broker;
#[cfg(feature = "verify")]
mod databases;
#[cfg(feature = "verify")]
mod endpoints;
#[cfg(feature = "verify")]
mod look;
#[cfg(feature = "verify")]
mod management;
#[cfg(feature = "verify")]
mod pass;
#[cfg(feature = "verify")]
mod silent;
#[cfg(feature = "verify")]
mod since;
#[cfg(feature = "verify")]
mod sources;
#[cfg(feature = "verify")]
mod stranded;
#[cfg(feature = "verify")]
mod verify;

pub use invariants::{
    Held, Quiet, Violation, check, check_orders, check_whole, check_with, sorted,
};
pub use scope::Scope;
pub use snapshot::*;

#[cfg(feature = "verify")]
pub use broker::{Broker, QueueState};
#[cfg(feature = "verify")]
pub use databases::{Databases, Pulse, Readers};
#[cfg(feature = "verify")]
pub use endpoints::Endpoints;
#[cfg(feature = "verify")]
pub use look::Checked;
#[cfg(feature = "verify")]
pub use management::Management;
#[cfg(feature = "verify")]
pub use silent::{Silent, answer};
#[cfg(feature = "verify")]
pub use since::{Margins, Progress, verify_since};
#[cfg(feature = "verify")]
pub use sources::Sources;
#[cfg(feature = "verify")]
pub use stranded::{Stranded, stranded};
#[cfg(feature = "verify")]
pub use verify::{Outcome, Verdict, verify};
