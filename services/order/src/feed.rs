//! Feeds streams with this process's writes: the events of all orders, their ends, and the progress
//! of single orders. `replicas.rs` finds the writes of other processes.

mod tally;
mod watchers;

use crate::{
    order::{Fact, Order, Status},
    store::{Changed, Loaded},
    view::Step,
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use events::{EventId, OrderId, said_at};
use serde::Serialize;
use service::http::{Feed, Listener, write_event};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use telemetry::metrics;

pub use tally::Tally;
pub use watchers::{Watch, WatchAll, Watchers};

#[derive(Clone, Default)]
pub struct Feeds {
    pub watchers: Watchers,
    pub endings: Feed,
    pub news: NewsFeed,
    pub tally: Tally,
}

/// Whose clients hear of it; none where keys are not required.
type Owner = Option<Arc<str>>;

/// The outcome of a transaction for one order.
pub struct Change<'a> {
    pub order_id: OrderId,
    /// Who has placed it, where keys are required.
    pub client: Owner,
    pub order: &'a Order,
    /// The facts that it has recorded.
    pub news: &'a [Fact],
    pub has_ended: bool,
}

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
    /// The event that caused it.
    after: Option<&'static str>,
    /// Order does not consume it: inferred, since its answer was published.
    inferred: bool,
}

/// The events of all orders, each sent once: by the process that wrote it, or by the poll for other
/// processes' writes, whichever is first.
#[derive(Clone, Default)]
pub struct NewsFeed {
    feed: Feed,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// Earlier events are not polled; none without listeners.
    since: Option<DateTime<Utc>>,
    /// The ids of the later events that were sent.
    ids: BTreeSet<EventId>,
}

/// Events whose ids are kept. Those of version 7 are in the order of their time.
const TOLD_MAX: usize = 16 * 1024;

impl Feeds {
    /// So many bytes are kept for each kind of streams.
    pub fn with_capacity(bytes: usize) -> Self {
        let (endings, news) = (Feed::new(bytes), NewsFeed::new(bytes));
        Self { endings, news, ..Self::default() }
    }

    /// A batch of changes is committed.
    pub fn committed(&self, batch: &Loaded) {
        let changes = batch.changes();
        for Change { order, .. } in changes.iter().filter(|change| change.has_ended) {
            metrics::ENDED.record(order.age(), [order.status().name()]);
        }
        let events = changes.iter().flat_map(|change| change.news).map(|fact| fact.event);
        let ended = changes.iter().filter(|change| change.has_ended);
        self.tally.add(events.chain(ended.map(|change| change.order.status().name())));
        self.tell(&changes);
    }

    pub fn tell(&self, changes: &[Change]) {
        self.watchers.tell(changes.iter().map(|one| (&one.order_id, one.order)));
        if self.endings.is_heard() {
            let mut ended: BTreeMap<Owner, Vec<Ending>> = BTreeMap::new();
            for one in changes.iter().filter(|one| one.has_ended) {
                let ending = Ending { order_id: one.order_id, status: one.order.status() };
                ended.entry(one.client.clone()).or_default().push(ending);
            }
            for (owner, ended) in ended {
                let mut text = String::new();
                write_event(&mut text, "ended", &ended, None::<EventId>);
                self.endings.send(owner, text);
            }
        }
        self.news.tell(changes.iter().flat_map(|one| {
            let news = one.news.iter().flat_map(|fact| News::of(one.order_id, one.order, fact));
            news.map(|news| (one.client.clone(), news))
        }));
    }
}

impl NewsFeed {
    pub fn new(bytes_max: usize) -> Self {
        Self { feed: Feed::new(bytes_max), told: Arc::default() }
    }

    /// The events from that moment on, or a little earlier; of one client's orders, or of all.
    pub fn listen(&self, now: DateTime<Utc>, owner: Owner) -> Listener {
        let mut told = self.lock();
        // An id has no finer time.
        told.since.get_or_insert(now.trunc_subsecs(3));
        self.feed.listen(owner)
    }

    pub fn tell(&self, all: impl Iterator<Item = (Owner, News)>) {
        if !self.feed.is_heard() {
            return;
        }
        let (mut told, mut texts) = (self.lock(), BTreeMap::<Owner, String>::new());
        for (owner, news) in all {
            if told.ids.insert(news.fact.event_id) {
                news.write(texts.entry(owner).or_default());
            }
        }
        while told.ids.len() > TOLD_MAX
            && let Some(forgotten) = told.ids.pop_first()
        {
            let later = said_at(forgotten).map(|at| at + TimeDelta::milliseconds(1));
            told.since = told.since.max(later);
        }
        // In the order in which they were found new.
        texts.into_iter().for_each(|(owner, text)| self.feed.send(owner, text));
    }

    /// The time since which to poll other processes' writes; none without listeners.
    pub fn looked_for_since(&self) -> Option<DateTime<Utc>> {
        let mut told = self.lock();
        if !self.feed.is_heard() {
            *told = Told::default();
        }
        told.since
    }

    /// Earlier events are not polled any more.
    pub fn looked(&self, earliest: DateTime<Utc>) {
        let mut told = self.lock();
        let since = told.since.max(Some(earliest));
        told.since = since;
        told.ids.retain(|id| said_at(*id).is_none_or(|at| Some(at) >= since));
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    pub fn write(&self, text: &mut String) {
        write_event(text, "said", self, Some(self.fact.event_id));
    }

    /// This fact of an order, preceded by the one that order does not consume.
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

    /// The events of these orders since then, by time.
    pub fn since(since: DateTime<Utc>, orders: &[Changed]) -> Vec<(Owner, Self)> {
        let all = orders.iter().flat_map(|(id, order, client)| {
            Self::all(*id, order).map(|news| (client.clone(), news))
        });
        let mut news: Vec<_> = all.filter(|(_, news)| news.fact.at >= since).collect();
        news.sort_by_key(|(_, news)| news.fact.at);
        news
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
