//! Bounds the wait for a part of the system that may be frozen: it takes connections, and never
//! answers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use tokio::time::timeout;

/// A part that has not answered in time. Starting what does not run does not help.
#[derive(Debug)]
pub struct Silent {
    pub part: String,
    pub within: Duration,
}

impl fmt::Display for Silent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, within } = self;
        let seconds = within.as_secs();
        write!(out, "{part} is silent: no answer within {seconds} s, it is frozen or overloaded")
    }
}

impl Error for Silent {}

impl Silent {
    /// Whether this is the reason of an error.
    pub fn is_in(why: &anyhow::Error) -> bool {
        why.chain().any(<dyn Error>::is::<Self>)
    }
}

/// What a part answers, or that it is silent.
pub async fn answer<T>(
    part: impl Into<String>,
    within: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match timeout(within, work).await {
        Ok(answered) => answered,
        Err(_) => Err(Silent { part: part.into(), within }.into()),
    }
}
