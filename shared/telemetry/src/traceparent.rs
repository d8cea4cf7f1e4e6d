//! Parses and formats a trace context, W3C `traceparent`: `00-<trace>-<span>-<flags>`.

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    pub span: SpanId,
    pub flags: TraceFlags,
}

#[derive(Debug, PartialEq, Eq)]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(NoTraceParent);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        if version != "00" || part().is_ok() {
            return Err(NoTraceParent);
        }
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let span = u64::try_from(span).map_err(|_| NoTraceParent)?;
        let flags = u8::try_from(flags).map_err(|_| NoTraceParent)?;
        if trace == 0 || span == 0 {
            return Err(NoTraceParent);
        }
        Ok(Self { trace: trace.into(), span: span.into(), flags: TraceFlags::new(flags) })
    }
}

fn hex(text: &str, digits: usize) -> Result<u128, NoTraceParent> {
    let lower = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != digits || !lower {
        return Err(NoTraceParent);
    }
    u128::from_str_radix(text, 16).map_err(|_| NoTraceParent)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_read_and_written_alike() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let place: TraceParent = text.parse().unwrap();
        assert!(place.flags.is_sampled());
        assert_eq!(place.to_string(), text);
    }

    #[test]
    fn anything_else_is_none() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NoTraceParent), "{bad}");
        }
    }
}
