//! Shows what is being waited for: a line for each thing that is ready, and on a terminal a last
//! line with what is not.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kit::colour::{self, Colour};
use kit::say;
use tokio::task::JoinHandle;
use tokio::time::interval;

pub struct Progress {
    started: Instant,
    waiting: Mutex<Vec<String>>,
    is_shown: bool,
    live: bool,
}

impl Progress {
    pub fn start(is_shown: bool) -> Self {
        let live = is_shown && std::io::stdout().is_terminal();
        Self { started: Instant::now(), waiting: Mutex::new(Vec::new()), is_shown, live }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn begin(&self, name: &str) {
        self.with_waiting(|waiting| waiting.push(name.to_owned()));
    }

    /// Takes the name off the waiting list, with a line that says so.
    pub fn done(&self, name: &str, detail: &str) {
        let seconds = self.elapsed().as_secs_f32();
        let mark = colour::paint(Colour::Green, "ready");
        self.with_waiting(|waiting| {
            waiting.retain(|other| other != name);
            self.clear();
            if !self.is_shown {
                return;
            }
            say!("  {mark}  {name:<20} {detail:<24} {seconds:>5.1} s");
        });
    }

    /// Redraws the last line until the handle is aborted.
    pub fn show(self: &std::sync::Arc<Self>) -> JoinHandle<()> {
        let progress = std::sync::Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                if !progress.live {
                    return;
                }
                let seconds = progress.elapsed().as_secs_f32();
                progress.with_waiting(|waiting| {
                    let names = waiting.join(", ");
                    progress.clear();
                    let line = format!("  {seconds:>5.1} s  waiting for {names}");
                    show(&shortened(&line));
                });
            }
        })
    }

    /// Leaves the line empty for what comes next.
    pub fn clear(&self) {
        if self.live {
            show("\r\x1b[2K");
        }
    }

    fn with_waiting(&self, act: impl FnOnce(&mut Vec<String>)) {
        act(&mut self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

fn show(text: &str) {
    let mut out = std::io::stdout();
    write!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// A line that the terminal had to break in two could not be taken back.
fn shortened(line: &str) -> String {
    const NARROW: usize = 78;
    match line.char_indices().nth(NARROW) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
