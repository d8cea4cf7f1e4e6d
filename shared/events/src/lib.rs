//! The words of the saga: what each event says, what it is called, and (in `SAGA`) who reacts to
//! what. Nothing here does I/O.

mod asking;
mod diagram;
mod money;
mod owed;
mod payload;
mod saga_table;
pub mod words;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use uuid::Uuid;

pub use asking::{Asking, CUSTOMER, LIMITED, OVERSIZED, PRICE, QUILL, SOLD_OUT};
pub use diagram::diagram;
pub use money::{Money, NotMoney};
pub use owed::{Debt, Known, owed};
pub use payload::*;
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
    /// Raised only by a change that yesterday's readers cannot read.
    const VERSION: u16 = 1;

    fn order_id(&self) -> OrderId;
}

/// The id of an event tells when it was said; an id of another version than 7 is none.
pub fn said_at(id: EventId) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp().filter(|_| id.get_version_num() == 7)?.to_unix();
    DateTime::from_timestamp(seconds.cast_signed(), nanos)
}

/// The service that says an event: the first word of its name.
pub fn said_by(event: &str) -> &str {
    event.split('.').next().unwrap_or(event)
}
