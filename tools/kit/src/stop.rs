//! Catches the signals that ask this command to end.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// Whether a command answers the signals itself.
static IS_HEARD: AtomicBool = AtomicBool::new(false);

/// The kernel keeps from the first process of a container what it does not listen for, even a
/// Ctrl-C: such a process ends here, as any other does by itself.
pub fn end_as_first() -> Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    let mut stop = Stop::new()?;
    tokio::spawn(async move {
        let code = stop.asked().await;
        if !IS_HEARD.load(Ordering::Relaxed) {
            std::process::exit(code.into());
        }
    });
    Ok(())
}

impl Stop {
    /// From here on the signals no longer end the process by themselves.
    pub fn listen() -> Result<Self> {
        IS_HEARD.store(true, Ordering::Relaxed);
        Self::new()
    }

    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal, and returns its exit code.
    pub async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => 129,
        }
    }
}
