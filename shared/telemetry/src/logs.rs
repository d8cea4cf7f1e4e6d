//! Formats log lines that can be read alone: time, level, one sentence, and the ids as fields.

use crate::lines::{self, Lines};
use anyhow::Context;
use std::{
    io::{IsTerminal, Write},
    sync::OnceLock,
};
use tracing_subscriber::{EnvFilter, fmt, fmt::time::ChronoUtc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Writes a line as it is, beside the log's own; nothing before the log has started.
pub fn write_line(line: impl FnOnce(LogFormat) -> String) {
    if let (Some(format), Some(mut lines)) = (FORMAT.get(), lines::started()) {
        let _ = lines.write_all(line(*format).as_bytes());
    }
}

/// Call once. `filter` is a level, or `crate=level` pairs with commas between them.
pub fn logs(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    // The libraries report what our own lines already say; a filter that names them takes
    // precedence.
    let filter = EnvFilter::try_new(format!("lapin=off,refinery_core=warn,sqlx=warn,{filter}"))
        .with_context(|| {
            format!("LOG={filter} is not a valid log filter; an example: LOG=info,payment=debug")
        })?;
    let _ = FORMAT.set(format);
    let out = Lines::start().context("the log's thread cannot be started")?;
    let lines = fmt()
        .with_writer(out)
        .with_env_filter(filter)
        .with_target(false)
        .with_timer(ChronoUtc::new("%FT%T%.3fZ".into()));
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stdout().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
