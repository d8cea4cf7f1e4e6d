//! An in-memory database: one copy per transaction, put in place by its commit. The tables are
//! persistent maps, so a copy shares all that it does not change: its cost does not grow with them.

use crate::message_store::{FAILURES_MAX, Unsent};
use crate::{Failure, Handled, MessageStore, Outgoing, Reply, Seen, reply};
use async_trait::async_trait;
use events::{EventId, OrderId};
use rpds::RedBlackTreeMapSync as Map;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use uuid::Uuid;

/// A service's database as a value; `D` is the service's own data in it.
#[derive(Clone, Default)]
pub struct MemoryMessageStore<D> {
    tables: Arc<Mutex<Tables<D>>>,
    failures_to_come: Arc<AtomicU32>,
}

#[derive(Clone, Default)]
struct Tables<D> {
    data: D,
    inbox: Map<EventId, Arc<Handled>>,
    outbox: Map<EventId, Row>,
    /// The number of starts, and the last attempt.
    suspects: Map<Vec<u8>, (u32, Uuid)>,
}

#[derive(Clone)]
struct Row {
    event: Arc<Outgoing>,
    /// From then on any process may publish it.
    due: Instant,
    failures: i32,
}

/// Works on a copy, one transaction at a time; a commit puts the copy in the original's place.
pub struct MemoryTx<D> {
    original: OwnedMutexGuard<Tables<D>>,
    copy: Tables<D>,
}

impl Row {
    fn outgoing(&self) -> Outgoing {
        Outgoing::clone(&self.event)
    }
}

impl<D> MemoryTx<D> {
    pub const fn data(&mut self) -> &mut D {
        &mut self.copy.data
    }
}

impl<D: Clone> MemoryMessageStore<D> {
    pub async fn data(&self) -> D {
        self.tables.lock().await.data.clone()
    }

    /// A read, without changes and without a copy.
    pub async fn look<T>(&self, at: impl FnOnce(&D) -> T) -> T {
        at(&self.tables.lock().await.data)
    }

    pub async fn unsent(&self) -> Vec<Outgoing> {
        self.tables.lock().await.outbox.values().map(Row::outgoing).collect()
    }

    pub async fn handled(&self) -> Vec<Handled> {
        self.tables.lock().await.inbox.values().map(|row| Handled::clone(row)).collect()
    }

    pub async fn has_handled(&self, event: EventId) -> bool {
        self.tables.lock().await.inbox.contains_key(&event)
    }

    /// The next transactions, so many, fail to begin, as if the database were unavailable.
    pub fn fail_next(&self, transactions: u32) {
        self.failures_to_come.store(transactions, Ordering::SeqCst);
    }
}

#[async_trait]
impl<D: Clone + Send + Sync + 'static> MessageStore for MemoryMessageStore<D> {
    type Tx = MemoryTx<D>;

    async fn begin(&self) -> Result<MemoryTx<D>, Failure> {
        let fewer = |left: u32| left.checked_sub(1);
        if self.failures_to_come.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            return Err(Failure::Transient(anyhow::anyhow!("database unavailable")));
        }
        let original = self.tables.clone().lock_owned().await;
        let copy = original.clone();
        Ok(MemoryTx { original, copy })
    }

    async fn commit(&self, mut tx: MemoryTx<D>) -> Result<(), Failure> {
        *tx.original = tx.copy;
        Ok(())
    }

    fn insert_inbox<'a>(&'a self, tx: &mut MemoryTx<D>, keys: &[Handled]) -> Reply<'a, Vec<Seen>> {
        let inbox = &mut tx.copy.inbox;
        let seen = keys.iter().map(|key| match inbox.get(&key.event_id) {
            None => {
                inbox.insert_mut(key.event_id, Arc::new(key.clone()));
                Seen::New
            }
            Some(known) if known.digest == key.digest => Seen::Before,
            Some(_) => Seen::Forged,
        });
        reply(Ok(seen.collect()))
    }

    async fn lock_orders(&self, _tx: &mut MemoryTx<D>, _orders: &[OrderId]) -> Result<(), Failure> {
        Ok(())
    }

    async fn enqueue(&self, tx: &mut MemoryTx<D>, said: &[Outgoing]) -> Result<(), Failure> {
        let due = Instant::now() + Duration::from_secs(2);
        for event in said {
            let row = Row { event: Arc::new(event.clone()), due, failures: 0 };
            tx.copy.outbox.insert_mut(event.id, row);
        }
        Ok(())
    }

    async fn claim_unsent(&self, max: usize) -> Result<Unsent, Failure> {
        let now = Instant::now();
        let mut tables = self.tables.lock().await;
        let mut claim = |which: fn(&Row) -> bool, max| -> Vec<_> {
            let due = tables.outbox.values().filter(|row| row.due <= now && which(row));
            let claimed: Vec<_> = due.take(max).cloned().collect();
            for row in &claimed {
                let due = now + Duration::from_secs(15);
                tables.outbox.insert_mut(row.event.id, Row { due, ..row.clone() });
            }
            claimed.iter().map(Row::outgoing).collect()
        };
        let together = claim(|row| row.failures == 0, max);
        Ok(Unsent { together, alone: claim(|row| row.failures > 0, 1).pop() })
    }

    async fn suspect(&self, unsent: &[EventId], _reason: &str) -> Result<Vec<EventId>, Failure> {
        let mut tables = self.tables.lock().await;
        let mut parked = Vec::new();
        for id in unsent {
            let Some(row) = tables.outbox.get_mut(id) else { continue };
            row.failures += 1;
            row.due = Instant::now();
            if row.failures >= FAILURES_MAX {
                row.due += Duration::from_secs(60);
                parked.push(*id);
            }
        }
        Ok(parked)
    }

    async fn release(&self, unsent: &[EventId]) -> Result<(), Failure> {
        let mut tables = self.tables.lock().await;
        for id in unsent {
            if let Some(row) = tables.outbox.get_mut(id) {
                row.due = Instant::now();
            }
        }
        Ok(())
    }

    async fn forget_sent(&self, sent: &[EventId]) -> Result<(), Failure> {
        let mut tables = self.tables.lock().await;
        for id in sent {
            tables.outbox.remove_mut(id);
        }
        Ok(())
    }

    async fn quarantine_start(&self, suspect: &[u8], attempt: Uuid) -> Result<u32, Failure> {
        let mut tables = self.tables.lock().await;
        let starts = tables
            .suspects
            .get(suspect)
            .map_or(1, |(starts, last)| starts + u32::from(*last != attempt));
        tables.suspects.insert_mut(suspect.to_vec(), (starts, attempt));
        Ok(starts)
    }

    async fn quarantine_end(&self, suspect: &[u8]) -> Result<(), Failure> {
        self.tables.lock().await.suspects.remove_mut(suspect);
        Ok(())
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.begin().await.map(drop)
    }

    async fn postpone(&self, unsent: &[EventId], _reason: &str) -> Result<(), Failure> {
        let mut tables = self.tables.lock().await;
        for id in unsent {
            if let Some(row) = tables.outbox.get_mut(id) {
                (row.due, row.failures) = (Instant::now() + Duration::from_secs(1), 0);
            }
        }
        Ok(())
    }
}
