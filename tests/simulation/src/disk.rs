//! A service's database in memory: it survives its service, and fails now and then.

use crate::{
    cells::allotment::AllotmentMoved,
    chaos::{Chaos, Place, lock},
    faults::Mutant,
};
use async_trait::async_trait;
use database::Failure;
use events::{Event, EventId, OrderId};
use futures::FutureExt;
use memory_stores::Tables;
use messaging::{
    Handled, MemoryMessageStore, MemoryTx, MessageStore, Outgoing, Reply, Seen, Unsent, reply,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, atomic::Ordering},
};
use uuid::Uuid;

#[derive(Clone)]
pub struct Disk<D> {
    pub tables: MemoryMessageStore<D>,
    pub chaos: Arc<Chaos>,
    pub place: Place,
    /// Events that a mutant deletes too early, at the next access.
    pub doomed: Arc<Mutex<Vec<EventId>>>,
    /// Sees the data at each commit.
    pub observer: Option<Observer<D>>,
}

pub type Observer<D> = Arc<dyn Fn(&D) + Send + Sync>;

/// A transaction that records its orders, for the trace.
pub struct Tx<D> {
    inner: MemoryTx<D>,
    about: BTreeSet<OrderId>,
}

impl<D> Tx<D> {
    pub const fn data(&mut self) -> &mut D {
        self.inner.data()
    }

    fn about(&self) -> Vec<OrderId> {
        self.about.iter().copied().collect()
    }
}

impl<D: Clone + Send + Sync + 'static> Tables<D> for Tx<D> {
    fn data(&mut self) -> &mut D {
        Self::data(self)
    }
}

impl<D: Clone + Default + Send + Sync + 'static> Disk<D> {
    pub fn new(chaos: &Arc<Chaos>, service: usize) -> Self {
        let (chaos, place) = (chaos.clone(), Place { service, replica: 0 });
        let tables = MemoryMessageStore::default();
        Self { tables, chaos, place, doomed: Arc::default(), observer: None }
    }

    /// The disk, as one of its service's processes sees it.
    pub fn of(&self, replica: usize) -> Self {
        Self { place: Place { replica, ..self.place }, ..self.clone() }
    }

    /// A statement of its own.
    pub async fn at_once<T: Send>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut D) -> (T, Vec<OrderId>) + Send,
    ) -> Result<T, Failure> {
        let mut tx = self.begin().await?;
        let (found, about) = work(tx.data());
        self.chaos.step(self.place, what, &about).await;
        tx.about.extend(about);
        self.commit(tx).await?;
        Ok(found)
    }

    /// A statement that changes nothing.
    pub async fn look<T>(&self, at: impl FnOnce(&D) -> T) -> Result<T, Failure> {
        self.fails("cannot look", &[])?;
        Ok(self.tables.look(at).await)
    }

    fn fails(&self, what: &'static str, about: &[OrderId]) -> Result<(), Failure> {
        self.chaos.database_fails(self.place, self.chaos.faults.database, what, about)
    }
}

#[async_trait]
impl<D: Clone + Default + Send + Sync + 'static> MessageStore for Disk<D> {
    type Tx = Tx<D>;

    async fn begin(&self) -> Result<Tx<D>, Failure> {
        self.fails("cannot begin", &[])?;
        Ok(Tx { inner: self.tables.begin().await?, about: BTreeSet::new() })
    }

    async fn commit(&self, mut tx: Tx<D>) -> Result<(), Failure> {
        let Self { chaos, place, .. } = self;
        let (about, faults) = (tx.about(), &chaos.faults);
        chaos.step(*place, "commit", &about).await;
        chaos.database_fails(*place, faults.commit_refused, "commit refused", &about)?;
        if chaos.chance(faults.data) {
            chaos.note(place.name(), "data refused", &about);
            return Err(Failure::permanent("chaos: a constraint is violated"));
        }
        if let Some(observer) = &self.observer {
            observer(tx.data());
        }
        self.tables.commit(tx.inner).await?;
        chaos.step(*place, "committed", &about).await;
        chaos.database_fails(*place, faults.commit_lost, "commit's answer lost", &about)
    }

    fn insert_inbox<'a>(&'a self, tx: &mut Tx<D>, handled: &[Handled]) -> Reply<'a, Vec<Seen>> {
        tx.about.extend(handled.iter().map(|row| row.order_id));
        let about = tx.about();
        let answers = if self.chaos.is_broken(Mutant::HasNoIdempotencyTable) {
            reply(Ok(vec![Seen::New; handled.len()]))
        } else {
            self.tables.insert_inbox(&mut tx.inner, handled)
        };
        let is_again = |row: &Handled| {
            self.chaos.is_broken(Mutant::AppliesTransfersTwice) && row.event == AllotmentMoved::NAME
        };
        let again: Vec<_> =
            (0..).zip(handled).filter(|(_, row)| is_again(row)).map(|(place, _)| place).collect();
        let seen = async move {
            self.chaos.step(self.place, "begin", &about).await;
            self.fails("cannot note", &about)?;
            let mut answers = answers.await?;
            let news = answers.iter().filter(|seen| **seen == Seen::New).count();
            self.chaos.handled.fetch_add(news as u64, Ordering::Relaxed);
            for (place, seen) in answers.iter_mut().enumerate() {
                *seen = match *seen {
                    Seen::Before if self.chaos.is_broken(Mutant::HandlesAgain) => Seen::New,
                    Seen::Before if again.contains(&place) => Seen::New,
                    Seen::Forged if self.chaos.is_broken(Mutant::IgnoresForgeries) => Seen::Before,
                    other => other,
                };
            }
            Ok(answers)
        };
        seen.boxed()
    }

    async fn lock_orders(&self, tx: &mut Tx<D>, orders: &[OrderId]) -> Result<(), Failure> {
        tx.about.extend(orders);
        self.fails("cannot lock", orders)
    }

    async fn enqueue(&self, tx: &mut Tx<D>, said: &[Outgoing]) -> Result<(), Failure> {
        let about: Vec<_> = said.iter().map(|event| event.order_id).collect();
        tx.about.extend(&about);
        self.chaos.step(self.place, "enqueue", &about).await;
        self.fails("cannot enqueue", &about)?;
        self.tables.enqueue(&mut tx.inner, said).await
    }

    async fn claim_unsent(&self, max: usize) -> Result<Unsent, Failure> {
        self.fails("cannot sweep", &[])?;
        let doomed = std::mem::take(&mut *lock(&self.doomed));
        self.tables.forget_sent(&doomed).await?;
        let found = self.tables.claim_unsent(max).await?;
        let about: Vec<_> =
            found.together.iter().chain(&found.alone).map(|event| event.order_id).collect();
        if !about.is_empty() {
            self.chaos.step(self.place, "sweep", &about).await;
        }
        Ok(found)
    }

    async fn suspect(&self, unsent: &[EventId], reason: &str) -> Result<Vec<EventId>, Failure> {
        self.fails("cannot suspect", &[])?;
        self.tables.suspect(unsent, reason).await
    }

    async fn forget_sent(&self, sent: &[EventId]) -> Result<(), Failure> {
        self.chaos.step(self.place, "forget", &[]).await;
        self.fails("cannot forget", &[])?;
        self.tables.forget_sent(sent).await?;
        self.fails("forgotten, and untold", &[])
    }

    async fn quarantine_start(&self, suspect: &[u8], attempt: Uuid) -> Result<u32, Failure> {
        self.chaos.step(self.place, "start alone", &[]).await;
        self.fails("cannot start alone", &[])?;
        self.tables.quarantine_start(suspect, attempt).await
    }

    async fn quarantine_end(&self, suspect: &[u8]) -> Result<(), Failure> {
        self.chaos.step(self.place, "end alone", &[]).await;
        self.fails("cannot end alone", &[])?;
        self.tables.quarantine_end(suspect).await
    }

    async fn release(&self, unsent: &[EventId]) -> Result<(), Failure> {
        self.fails("cannot release", &[])?;
        self.tables.release(unsent).await
    }

    async fn postpone(&self, unsent: &[EventId], reason: &str) -> Result<(), Failure> {
        self.fails("cannot postpone", &[])?;
        self.tables.postpone(unsent, reason).await
    }
}
