//! Tells whoever listens what happens in this process, a batch at a time. Costs nothing where
//! nobody listens.

use crate::{
    order::{Fact, Order, Status},
    view::Step,
};
use events::OrderId;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast;

/// An order that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    pub order_id: OrderId,
    pub status: Status,
}

/// An event of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub order_id: OrderId,
    pub fact: Fact,
    /// The event that it answers.
    after: Option<&'static str>,
    /// Order does not hear it: it must have been said, for its answer was.
    inferred: bool,
}

pub struct Telling<T>(broadcast::Sender<Arc<[T]>>);

/// Batches that a listener may be behind before it misses some.
const BEHIND_MAX: usize = 1024;

impl<T: Clone> Default for Telling<T> {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND_MAX).0)
    }
}

impl<T> Clone for Telling<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Telling<T> {
    pub fn tell(&self, told: impl Iterator<Item = T>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let told: Arc<[_]> = told.collect();
        if !told.is_empty() {
            // Whoever listened may have gone this moment.
            let _ = self.0.send(told);
        }
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<[T]>> {
        self.0.subscribe()
    }
}

impl News {
    /// This fact of an order, and before it what order has not heard.
    pub fn of(order_id: OrderId, order: &Order, fact: &Fact) -> Vec<Self> {
        let unheard = order.unheard(fact);
        let after = |fact: &Fact| {
            let known = order.timeline().iter().chain(&unheard);
            let mut causes = known.filter(|other| fact.caused_by == Some(other.event_id));
            causes.next().map(|cause| cause.event)
        };
        let news = |fact: &Fact, inferred| {
            let (after, fact) = (after(fact), fact.clone());
            Self { order_id, fact, after, inferred }
        };
        let before = unheard.iter().map(|fact| news(fact, true));
        before.chain([news(fact, false)]).collect()
    }

    pub fn all(order_id: OrderId, order: &Order) -> impl Iterator<Item = Self> {
        order.timeline().iter().flat_map(move |fact| Self::of(order_id, order, fact))
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    order_id: OrderId,
    #[serde(flatten)]
    step: Step<'a>,
    after: Option<&'static str>,
    inferred: bool,
}

impl Serialize for News {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { order_id, after, inferred, .. } = *self;
        Shown { order_id, step: Step::from(&self.fact), after, inferred }.serialize(serializer)
    }
}
