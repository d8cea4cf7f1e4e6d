//! Polls orders and queues for all open pages at once, and only while one is open. The last frames
//! are kept for a page that comes back.

use crate::{
    dead::{self, Reasons},
    operator::Operator,
    queues::{LOOK_EVERY, Looking, Queues},
    rates::Rates,
    scene::{Frame, Scene},
};
use events::EventId;
use order::{Backend, Feeds, WatchAll};
use service::Context;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

/// Interval between two polls of the orders: minimum and maximum.
const REST_MIN: Duration = Duration::from_millis(150);
const REST_MAX: Duration = Duration::from_millis(500);
/// A slow poll is repeated less often: it takes a tenth of the time at most.
const REST: u32 = 10;
/// How long it continues after the last page has gone: most come back.
const LINGER: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct PageFeed {
    inner: Arc<Inner>,
}

struct Inner {
    /// The number of the latest frame. Every open page holds a receiver.
    latest: watch::Sender<u64>,
    state: Mutex<State>,
    wanted: Notify,
    /// Distinguishes this process's frames from another's.
    run: EventId,
    /// When an order should be final; zero is never.
    deadline: Duration,
    /// Reads dead letters, if it is permitted.
    operator: Option<Arc<dyn Operator>>,
    /// Of the frames that are kept, together.
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// The present state; none without a viewer.
    scene: Option<Scene>,
    queues: Queues,
    reasons: Reasons,
    frames: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
}

/// One open page.
pub struct Subscriber {
    feed: PageFeed,
    latest: watch::Receiver<u64>,
    /// The last frame that it has received; none before the first.
    seen: Option<u64>,
}

/// What is sent, and the name under which it is remembered.
pub struct Sent {
    pub id: String,
    pub data: Arc<str>,
}

impl PageFeed {
    pub fn new(
        run: EventId,
        deadline: Duration,
        operator: Option<Arc<dyn Operator>>,
        bytes_max: usize,
    ) -> Self {
        let (latest, _) = watch::channel(0);
        let (state, wanted) = (Mutex::default(), Notify::new());
        Self {
            inner: Arc::new(Inner { latest, state, wanted, run, deadline, operator, bytes_max }),
        }
    }

    /// `after` is the id of the last frame that the page knows.
    pub fn subscribe(&self, after: Option<&str>) -> Subscriber {
        let run = self.inner.run.simple().to_string();
        let number = after.and_then(|id| id.strip_prefix(&run)?.strip_prefix('-')?.parse().ok());
        let subscriber =
            Subscriber { feed: self.clone(), latest: self.inner.latest.subscribe(), seen: number };
        self.inner.wanted.notify_one();
        subscriber
    }

    /// Whether a page is open.
    pub fn is_watched(&self) -> bool {
        self.inner.latest.receiver_count() > 0
    }

    #[cfg(test)]
    pub fn is_looking(&self) -> bool {
        self.lock().scene.is_some()
    }

    /// Works until the service stops.
    pub async fn run(self, context: Context<()>, backend: Arc<dyn Backend>, feeds: Feeds) {
        loop {
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = self.inner.wanted.notified() => {}
            }
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = self.orders(&context, &*backend, &feeds) => {}
                () = self.queues(&context) => {}
            }
            *self.lock() = State::default();
        }
    }

    /// Ends when no page has been open for a while.
    async fn orders(&self, context: &Context<()>, backend: &dyn Backend, feeds: &Feeds) {
        let (mut watch, mut rates) = (feeds.watchers.watch_all(), Rates::new(feeds.tally.clone()));
        let mut scene = Scene::default();
        let mut last_seen = Instant::now();
        let mut count_at = last_seen;
        loop {
            let began = Instant::now();
            if self.is_watched() {
                last_seen = began;
            } else if began - last_seen > LINGER {
                return;
            }
            let mut next = scene.clone();
            next.trouble.clear();
            rates.look();
            let copies = self.lock().queues.of(order::NAME).map_or(1, |sums| sums.consumers);
            next.show_rates(&rates, copies);
            let looked = self.look(context, backend, &mut watch, &mut next).await;
            let looked = match looked {
                Ok(passed) if began >= count_at => {
                    let counted = backend.count().await;
                    count_at = Instant::now() + (began.elapsed() * REST).max(REST_MAX);
                    counted.map(|counts| {
                        next.show_counts(&counts);
                        passed
                    })
                }
                looked => looked,
            };
            let passed = looked.unwrap_or_else(|why| {
                // Logged once, not at every poll.
                if scene.trouble.is_empty() {
                    tracing::warn!("the live page cannot read orders: {why:#}");
                }
                next.trouble = "orders unavailable: the database does not answer".into();
                BTreeSet::new()
            });
            self.tell(&next.since(&scene, passed), &next);
            scene = next;
            sleep((began.elapsed() * REST).max(REST_MIN)).await;
            tokio::select! {
                () = watch.news() => {}
                () = sleep_until(began + REST_MAX) => {}
            }
        }
    }

    async fn look(
        &self,
        context: &Context<()>,
        backend: &dyn Backend,
        watch: &mut WatchAll,
        scene: &mut Scene,
    ) -> Result<BTreeSet<&'static str>, database::Failure> {
        let (queues, reasons) = {
            let state = self.lock();
            (state.queues.clone(), state.reasons.clone())
        };
        scene.show_queues(&queues);
        scene.dead = dead::board(&queues, &reasons, self.inner.operator.is_some());
        let busy = context.health.activities.begin_job("a look for the live page");
        let views = backend.glance(&watch.take()).await?;
        drop(busy);
        let now = context.env.now();
        let views: Vec<_> =
            views.into_iter().map(|view| view.at(now, self.inner.deadline)).collect();
        scene.show_orders(&views, &queues, now);
        Ok(scene.passed(&views, now))
    }

    async fn queues(&self, context: &Context<()>) {
        let mut looking = Looking::new(context, self.inner.operator.as_deref());
        let mut reasons = Reasons::default();
        loop {
            // Without a broker the page shows no depths.
            let queues = looking.look().await.unwrap_or_default();
            if let Some(operator) = &self.inner.operator
                && let Err(why) = reasons.look(&**operator, &queues).await
            {
                tracing::debug!("cannot read the reasons of dead letters: {why:#}");
            }
            self.see(queues, reasons.clone());
            sleep(LOOK_EVERY).await;
        }
    }

    fn see(&self, queues: Queues, reasons: Reasons) {
        let mut state = self.lock();
        (state.queues, state.reasons) = (queues, reasons);
    }

    fn tell(&self, frame: &Frame, scene: &Scene) {
        let mut state = self.lock();
        let is_first = state.scene.replace(scene.clone()).is_none();
        if frame.is_empty() && !is_first {
            return;
        }
        let number = *self.inner.latest.borrow() + 1;
        let text = text(frame);
        state.bytes += text.len();
        state.frames.push_back((number, text));
        while state.bytes > self.inner.bytes_max
            && let Some((_, gone)) = state.frames.pop_front()
        {
            state.bytes -= gone.len();
        }
        drop(state);
        self.inner.latest.send_replace(number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self, number: u64, data: Arc<str>) -> Sent {
        Sent { id: format!("{}-{number}", self.inner.run.simple()), data }
    }
}

impl Subscriber {
    /// The whole present scene, and the id of its frame.
    pub async fn scene(&mut self) -> (Scene, String) {
        loop {
            let number = *self.latest.borrow_and_update();
            if let Some(scene) = self.feed.lock().scene.clone() {
                return (scene, self.feed.sent(number, "".into()).id);
            }
            // The feed lives as long as we do.
            let _ = self.latest.changed().await;
        }
    }

    /// The next frame; all of it for a page that has missed too much.
    pub async fn next(&mut self) -> Sent {
        loop {
            let number = *self.latest.borrow_and_update();
            if let Some(sent) = self.due(number) {
                return sent;
            }
            let _ = self.latest.changed().await;
        }
    }

    fn due(&mut self, latest: u64) -> Option<Sent> {
        let state = self.feed.lock();
        let scene = state.scene.as_ref()?;
        if self.seen == Some(latest) {
            return None;
        }
        let next = self.seen.map(|seen| seen + 1);
        let kept = state.frames.iter().find(|(number, _)| Some(*number) == next);
        let (number, data) = match kept {
            Some((number, data)) => (*number, data.clone()),
            None => (latest, text(&scene.whole())),
        };
        drop(state);
        self.seen = Some(number);
        Some(self.feed.sent(number, data))
    }
}

fn text(frame: &Frame) -> Arc<str> {
    serde_json::to_string(frame).expect("a frame is plain data").into()
}
