//! Shows the progress of a start: a line for each part that is ready, and on a terminal a last line
//! with the parts that are not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kit::colour::{self, Colour};
use kit::say;

const REDRAWN_EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    started: Instant,
    waiting: Mutex<Vec<String>>,
    is_shown: bool,
    last_line: ProgressBar,
}

impl Progress {
    pub fn start(is_shown: bool) -> Self {
        let target = match is_shown {
            true => ProgressDrawTarget::stdout(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{elapsed:>7}  waiting for {msg}");
        let style = style.expect("the template is sound");
        let last_line = ProgressBar::with_draw_target(None, target).with_style(style);
        last_line.enable_steady_tick(REDRAWN_EVERY);
        Self { started: Instant::now(), waiting: Mutex::default(), is_shown, last_line }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn begin(&self, name: &str) {
        let mut waiting = self.waiting();
        waiting.push(name.to_owned());
        self.last_line.set_message(waiting.join(", "));
    }

    /// Removes the name from the waiting list, and prints that it is ready.
    pub fn done(&self, name: &str, detail: &str) {
        let seconds = self.elapsed().as_secs_f32();
        let mark = colour::paint(Colour::Green, "ready");
        let mut waiting = self.waiting();
        waiting.retain(|other| other != name);
        self.last_line.set_message(waiting.join(", "));
        if self.is_shown {
            self.last_line.suspend(|| say!("  {mark}  {name:<20} {detail:<24} {seconds:>5.1} s"));
        }
    }

    /// Clears the line for other output.
    pub fn clear(&self) {
        self.last_line.finish_and_clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
