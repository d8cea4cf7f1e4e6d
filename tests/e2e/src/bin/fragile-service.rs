//! A service with bugs: one message ends its process, and another one always fails.

use database::{Failure, Transaction};
use events::{Event, OrderId, ProductId};
use messaging::{Batch, Reply, Store, reply};
use reaction::{Decision, Heard, On};
use serde::{Deserialize, Serialize};
use service::Service;
use std::process::ExitCode;

#[derive(Clone, Default)]
struct Glass;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Struck {
    order_id: OrderId,
    hard: bool,
    #[serde(default)]
    cracks: bool,
}

impl Event for Struck {
    const NAME: &'static str = "hammer.struck";

    fn order_id(&self) -> OrderId {
        self.order_id
    }
}

impl On<Struck> for Glass {
    fn on(self, heard: &Heard<Struck>) -> Decision<Self> {
        if heard.event.hard {
            std::process::abort();
        }
        assert!(!heard.event.cracks, "it cracks");
        Decision::nothing()
    }
}

/// Stores nothing: handled messages are in the idempotency table.
struct Nothing;

impl Store for Nothing {
    type Tx = Transaction;
    type State = Glass;
    type Batch = Batch<Glass>;

    fn load(
        &self,
        _: &mut Transaction,
        _: &[OrderId],
        _: &[ProductId],
    ) -> Reply<'static, Batch<Glass>> {
        reply(Ok(Batch::new([])))
    }

    async fn save(&self, _: &mut Transaction, _: &Batch<Glass>) -> Result<(), Failure> {
        Ok(())
    }
}

#[derive(clap::Args, Clone, Debug)]
struct Settings {}

fn main() -> ExitCode {
    service::main("fragile", |_: &Settings| Ok(Service::new("fragile", Nothing).on::<Struck>()))
}
