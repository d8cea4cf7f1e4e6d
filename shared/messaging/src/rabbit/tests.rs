//! Tests of lapin's errors, and what they mean for the message in flight.

use super::*;
use lapin::{ErrorKind, protocol::AMQPError};
use std::{io, sync::Arc};

fn explained(kind: impl Into<lapin::Error>) -> BrokerError {
    explain(&kind.into())
}

fn closed(kind: AMQPErrorKind) -> BrokerError {
    explained(ErrorKind::ProtocolError(AMQPError::new(kind, "why".into())))
}

#[test]
fn a_broker_that_is_stopped_or_silent_says_nothing_about_the_message() {
    let stopped = closed(AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED));
    assert!(matches!(stopped, BrokerError::Away(_)), "{stopped:?}");
    let silent = explained(ErrorKind::MissingHeartbeatError);
    assert!(matches!(silent, BrokerError::Away(_)), "{silent:?}");
}

#[test]
fn a_refused_frame_and_a_reset_link_may_be_the_message_s_fault() {
    let refused = closed(AMQPErrorKind::Hard(AMQPHardError::FRAMEERROR));
    assert!(matches!(refused, BrokerError::Ended(_)), "{refused:?}");
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    let reset = explained(ErrorKind::IOError(Arc::new(reset)));
    assert!(matches!(reset, BrokerError::Ended(_)), "{reset:?}");
}
