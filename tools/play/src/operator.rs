//! Reads and replays the dead letters of the broker in memory.

use anyhow::Result;
use async_trait::async_trait;
use dead_letters::{Letter, ReplayPlan, judge, now, order_of};
use events::OrderId;
use messaging::{Broker, MemoryBroker, header};
use order::acts::acts_of;
use order_page::{Acted, Deed, Operator, OwnBooks};
use std::sync::Arc;

pub struct MemoryOperator(pub MemoryBroker);

impl MemoryOperator {
    fn letters(&self, queue: &str) -> Vec<Letter> {
        let letter = |message| Letter { parked: queue.into(), message };
        self.0.messages(queue).into_iter().map(letter).collect()
    }

    /// From its queue to the one that it died in.
    fn replay(&self, letter: &Letter, to: &str) {
        let (gone, stay): (Vec<_>, Vec<_>) = self
            .0
            .drain(&letter.parked)
            .into_iter()
            .partition(|message| *message == letter.message);
        stay.into_iter().for_each(|message| self.0.inject(&letter.parked, message));
        gone.into_iter().take(1).for_each(|_| self.0.inject(to, letter.for_replay(now())));
    }
}

#[async_trait]
impl Operator for MemoryOperator {
    fn broker(&self) -> Option<Arc<dyn Broker>> {
        Some(Arc::new(self.0.clone()))
    }

    async fn first(&self, queue: &str) -> Result<Option<Letter>> {
        Ok(self.letters(queue).into_iter().next())
    }

    async fn set_aside(&self, queue: &str, order: OrderId) -> Result<bool> {
        let (own, others): (Vec<_>, Vec<_>) =
            self.0.drain(queue).into_iter().partition(|message| order_of(message) == Some(order));
        others.into_iter().for_each(|message| self.0.inject(queue, message));
        let found = !own.is_empty();
        let parked = messaging::dead_letters(queue);
        let why = "an operator has set it aside";
        let own = own.into_iter().map(|message| message.with(header::REASON, why));
        own.for_each(|message| self.0.inject(&parked, message));
        Ok(found)
    }

    async fn act(&self, mut books: OwnBooks, queue: &str, max: usize, deed: Deed) -> Result<Acted> {
        let mut letters = self.letters(queue);
        let unseen = letters.len().saturating_sub(max);
        letters.truncate(max);
        let (seen, retention): (Vec<_>, _) = (letters.iter().collect(), books.retention);
        if deed == Deed::Replay {
            books.backend.begin_acts(&acts_of(&books.by, "dlq.replay", &seen)).await?;
        }
        let plans = judge(&mut books, retention, &seen).await?;
        let told = letters.iter().zip(plans).map(|(letter, (_, plan))| match &plan {
            ReplayPlan::Goes { to } | ReplayPlan::NoEffect { to } if deed == Deed::Replay => {
                self.replay(letter, to);
                (format!("replayed: in {to}"), true)
            }
            plan => plan.told(),
        });
        let told: Vec<_> = told.collect();
        Ok(Acted { letters: letters.into_iter().zip(told).collect(), unseen })
    }
}
