//! Dead letters as a person at the command treats them: looked at, sent back, mended, thrown away.

mod books;
mod import;
mod line;
mod pick;

use std::collections::HashMap;

use anyhow::Result;
use audit::{Broker, Databases, Endpoints};
use dead_letters::{Done, Fate, Hand, Letter, Outcome, Past, Post, finish};
use events::OrderId;
use messaging::{Kept, Publication};

use books::Books;

pub use import::How;
pub use line::{Line, hex, value};
pub use pick::Pick;

pub struct DeadLetters {
    broker: Broker,
    books: Books,
    post: Post,
    kept: Kept,
}

/// What is picked of the first `limit` in each queue.
pub async fn take(broker: &Broker, pick: &Pick, limit: usize) -> Result<Hand> {
    let queues = broker.parkings().await?.into_iter().filter(|queue| pick.looks_into(queue));
    Hand::take(broker.connection(), queues, limit, |letter| pick.fits(letter)).await
}

impl DeadLetters {
    pub async fn connect(endpoints: &Endpoints) -> Result<Self> {
        let broker = Broker::connect(endpoints).await?;
        let books = Books::new(Databases::connect(&endpoints.databases).await?);
        let post = Post::connect(&endpoints.amqp_url, "saga dlq").await?;
        Ok(Self { broker, books, post, kept: endpoints.kept() })
    }

    pub async fn take(&self, pick: &Pick, limit: usize) -> Result<Hand> {
        take(&self.broker, pick, limit).await
    }

    pub async fn statuses(&mut self, letters: &[&Letter]) -> Result<HashMap<OrderId, String>> {
        self.books.statuses(letters).await
    }

    /// What a replay of each would do.
    pub async fn judge(&mut self, letters: &[&Letter]) -> Result<Vec<(Past, Fate)>> {
        dead_letters::judge(&mut self.books, self.kept, letters).await
    }

    pub async fn replay(&mut self, hand: &Hand) -> Result<Vec<Done>> {
        dead_letters::replay(&mut self.books, self.kept, &mut self.post, hand).await
    }

    pub async fn send_back(&mut self, letters: &[(&Letter, &str)]) -> Vec<Result<(), String>> {
        self.post.send_back(letters).await
    }

    async fn send(&mut self, burst: &[Publication]) -> Vec<Result<(), String>> {
        self.post.send(burst).await
    }

    /// Notes in the hearers' databases that these are thrown away, and only then does it.
    pub async fn purge(&mut self, hand: &Hand) -> Result<Vec<Done>> {
        self.books.purge(&hand.letters()).await?;
        let mut all = Vec::with_capacity(hand.taken.len());
        for taken in &hand.taken {
            all.push(finish(hand, taken, Outcome::Purged, taken.letter.reason()).await);
        }
        Ok(all)
    }
}
