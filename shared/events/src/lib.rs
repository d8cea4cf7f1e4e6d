#![doc = include_str!("../README.md")]

mod diagram;
mod money;
mod payload;
mod payment_method;
mod pending;
mod saga_table;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt::Debug;
use uuid::Uuid;

pub use diagram::diagram;
pub use money::{Money, NotMoney};
pub use payload::*;
pub use payment_method::{HAS_DEMO, PaymentMethod};
pub use pending::{Observed, PendingStep, pending_steps, unhandled};
pub use saga_table::*;

pub type OrderId = Uuid;
pub type EventId = Uuid;
pub type ProductId = Uuid;

/// One kind of event. Its name is routing key and message `type` in one.
pub trait Event:
    Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static
{
    /// `<service>.<what-happened>`, past tense.
    const NAME: &'static str;
    /// Raised only by a change that readers of the last version cannot read.
    const VERSION: u16 = 1;
    /// The oldest version that is still read: `upcast` brings it up to this one.
    const OLDEST: u16 = Self::VERSION;

    fn order_id(&self) -> OrderId;

    fn from_json(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body)
    }

    /// Makes a body of the version `from` one of the next version.
    fn upcast(_from: u16, body: Value) -> Value {
        body
    }

    /// Reads a body of any version from `OLDEST` to `VERSION`.
    fn of_version(version: u16, body: &[u8]) -> serde_json::Result<Self> {
        if version == Self::VERSION {
            return Self::from_json(body);
        }
        let body = serde_json::from_slice(body)?;
        let body = (version..Self::VERSION).fold(body, |body, from| Self::upcast(from, body));
        Self::from_json(&serde_json::to_vec(&body)?)
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an event is plain data")
    }
}

/// The time of an event, from its id; none unless the id is a UUID of version 7.
pub fn said_at(id: EventId) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp().filter(|_| id.get_version_num() == 7)?.to_unix();
    DateTime::from_timestamp(seconds.cast_signed(), nanos)
}

/// The lowest id that an event of that time, or an order, may have.
pub fn lowest_id(at: DateTime<Utc>) -> EventId {
    let millis = at.timestamp_millis().max(0).unsigned_abs();
    Uuid::from_u128(u128::from(millis) << 80)
}

/// The name of an event's type, such as that of `order.cancel-requested`.
pub fn type_name(event: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    event.split(['.', '-']).map(capital).collect()
}

/// The service that publishes an event: the first word of its name.
pub fn said_by(event: &str) -> &str {
    event.split('.').next().unwrap_or(event)
}
