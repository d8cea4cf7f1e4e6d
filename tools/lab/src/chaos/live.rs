//! Shows a run's progress: a line that is always up to date on a terminal, else one now and then;
//! and one line for each completed fault.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kit::output::{self, LiveLine, count};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::load::Progress;

const REDRAWN_EVERY: Duration = Duration::from_millis(200);
const TOLD_EVERY: Duration = Duration::from_secs(15);

pub struct Live {
    started: Instant,
    is_shown: bool,
    scene: Mutex<Scene>,
    news: Notify,
}

struct Scene {
    line: LiveLine,
    /// The current fault.
    now: String,
    faults: usize,
    orders: Progress,
    has_all: bool,
}

impl Scene {
    const fn is_done(&self) -> bool {
        self.has_all && self.orders.finished >= self.orders.placed
    }
}

impl Live {
    pub fn new(is_shown: bool) -> Arc<Self> {
        let scene = Scene {
            line: LiveLine::new(is_shown),
            now: String::new(),
            faults: 0,
            orders: Progress::default(),
            has_all: false,
        };
        let (started, news) = (Instant::now(), Notify::new());
        Arc::new(Self { started, is_shown, scene: Mutex::new(scene), news })
    }

    /// Redraws until it is dropped.
    pub async fn redraw(self: Arc<Self>) {
        let is_live = self.lock().line.is_shown();
        loop {
            sleep(if is_live { REDRAWN_EVERY } else { TOLD_EVERY }).await;
            let line = self.line();
            match is_live {
                true => self.lock().line.show(&line),
                false => self.print(&line),
            }
        }
    }

    fn line(&self) -> String {
        let Scene { now, faults, orders, .. } = &*self.lock();
        format!(
            "{:>5.0} s  {} placed, {} in flight, {} final  {faults} faults  {now}",
            self.started.elapsed().as_secs_f64(),
            count(orders.placed),
            count(orders.placed - orders.finished.min(orders.placed)),
            count(orders.finished),
        )
    }

    pub fn now(&self, what: impl Into<String>) {
        self.lock().now = what.into();
    }

    pub fn fault_is_over(&self, line: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let mut scene = self.lock();
        scene.faults += 1;
        scene.now = "all is well".into();
        scene.line.clear();
        drop(scene);
        self.print(&format!("{elapsed:>5.0} s  {line}"));
    }

    pub fn orders(&self, orders: Progress) {
        self.lock().orders = orders;
        self.news.notify_waiters();
    }

    /// No more orders will be placed.
    pub fn has_all(&self) {
        self.lock().has_all = true;
        self.news.notify_waiters();
    }

    /// Returns when every order has ended.
    pub async fn all_final(&self) {
        loop {
            let news = self.news.notified();
            if self.lock().is_done() {
                return;
            }
            news.await;
        }
    }

    pub fn clear(&self) {
        self.lock().line.clear();
    }

    fn print(&self, line: &str) {
        if self.is_shown {
            output::line(line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
