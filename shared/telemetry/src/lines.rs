//! Buffers log lines: logging does not block, and a thread writes the lines collected since its
//! last write. A process that is killed loses the lines of its last moment.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are collected. The first line after a pause is written at once.
const REST: Duration = Duration::from_millis(30);
/// A full buffer blocks the logging thread, as logging without a buffer would.
const WAITING_MAX: usize = 1 << 20;

static LINES: OnceLock<Lines> = OnceLock::new();

#[derive(Clone, Default)]
pub struct Lines(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    writer: Writer,
    /// A caller waits until all is written.
    is_urgent: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    /// Until lines arrive.
    #[default]
    Idle,
    Writing,
    /// Wakes by itself, sooner only if it must.
    Resting,
}

impl Lines {
    /// To the standard output, by a thread of their own.
    pub fn start() -> io::Result<Self> {
        let lines = LINES.get_or_init(Self::default).clone();
        let writer = lines.clone();
        thread::Builder::new().name("log".into()).spawn(move || writer.write_to(io::stdout()))?;
        Ok(lines)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut waiting = self.lock();
        loop {
            while waiting.bytes.is_empty() {
                waiting.writer = Writer::Idle;
                waiting = self.wait(waiting);
            }
            waiting.writer = Writer::Writing;
            let bytes = std::mem::take(&mut waiting.bytes);
            drop(waiting);
            // A failure here cannot be reported anywhere.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            waiting = self.lock();
            waiting.writer = Writer::Resting;
            self.0.changed.notify_all();
            let may_rest = |waiting: &mut Waiting| !waiting.must_be_written();
            let rested = self.0.changed.wait_timeout_while(waiting, REST, may_rest);
            waiting = rested.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn flush_all(&self) {
        let mut waiting = self.lock();
        waiting.is_urgent = true;
        self.0.changed.notify_all();
        while waiting.writer == Writer::Writing || !waiting.bytes.is_empty() {
            waiting = self.wait(waiting);
        }
        waiting.is_urgent = false;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    const fn must_be_written(&self) -> bool {
        self.is_urgent || self.bytes.len() >= WAITING_MAX
    }
}

pub fn started() -> Option<&'static Lines> {
    LINES.get()
}

/// Returns when every line is written.
pub fn flush_logs() {
    if let Some(lines) = LINES.get() {
        lines.flush_all();
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lock();
        while waiting.bytes.len() >= WAITING_MAX {
            waiting = self.wait(waiting);
        }
        waiting.bytes.extend_from_slice(line);
        let wakes = waiting.writer == Writer::Idle || waiting.must_be_written();
        if wakes {
            waiting.writer = Writer::Writing;
        }
        drop(waiting);
        if wakes {
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Passes written lines on.
    struct Out(mpsc::Sender<String>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines, mpsc::Receiver<String>) {
        let (out, written) = mpsc::channel();
        let lines = Lines::default();
        let writer = lines.clone();
        thread::spawn(move || writer.write_to(Out(out)));
        (lines, written)
    }

    #[test]
    fn a_line_after_a_silence_is_written_without_being_asked_for() {
        let (lines, written) = lines();
        for line in ["one\n", "two\n"] {
            (&lines).write_all(line.as_bytes()).unwrap();
            assert_eq!(written.recv().unwrap(), line);
        }
    }

    #[test]
    fn all_lines_are_written_in_their_order_and_together() {
        let (lines, written) = lines();
        let said: Vec<_> = (0..10_000).map(|number| format!("{number}\n")).collect();
        for line in &said {
            (&lines).write_all(line.as_bytes()).unwrap();
        }
        lines.flush_all();
        let writes: Vec<_> = written.try_iter().collect();
        assert_eq!(writes.concat(), said.concat());
        assert!(writes.len() < said.len() / 10, "{} writes", writes.len());
    }

    #[test]
    fn whoever_logs_more_than_is_taken_away_waits_and_loses_nothing() {
        let (lines, written) = lines();
        let line = "x".repeat(WAITING_MAX / 3);
        for _ in 0..10 {
            (&lines).write_all(line.as_bytes()).unwrap();
        }
        lines.flush_all();
        assert_eq!(written.try_iter().map(|bytes| bytes.len()).sum::<usize>(), 10 * line.len());
    }
}
