//! Bounds each wait for the broker, and says what its refusals mean for the message in flight.

use crate::BrokerError;
use amq_protocol::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use std::time::Duration;

pub const DEADLINE: Duration = Duration::from_secs(10);

/// Bounds a wait for the broker.
pub async fn within<T>(
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let late = |_| BrokerError::away(format!("no answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, work).await.map_err(late)?
}

/// Bounds a wait for lapin.
pub async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    within(async { work.await.map_err(|why| explain(&why)) }).await
}

pub fn explain(why: &lapin::Error) -> BrokerError {
    match why.kind() {
        lapin::ErrorKind::ProtocolError(refusal) => meaning(refusal.kind(), why.to_string()),
        // A broker that closes in the middle of a frame often resets the link before its reason
        // is read.
        lapin::ErrorKind::IOError(why) => BrokerError::Ended(why.to_string()),
        lapin::ErrorKind::SerialisationError(_) => BrokerError::Ended(why.to_string()),
        _ => BrokerError::away(why),
    }
}

/// The reason with which the broker closed a connection or a channel.
pub fn refusal(code: u16, text: &str) -> BrokerError {
    match AMQPErrorKind::from_id(code) {
        Some(kind) => meaning(&kind, format!("{kind}: {text}")),
        None => BrokerError::away(format!("{code}: {text}")),
    }
}

fn meaning(kind: &AMQPErrorKind, why: String) -> BrokerError {
    match kind {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => BrokerError::Login(why),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => BrokerError::Topology(why),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => BrokerError::Missing(why),
        // It is shutting down.
        AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => BrokerError::Away(why),
        _ => BrokerError::Ended(why),
    }
}

#[cfg(test)]
mod tests;
