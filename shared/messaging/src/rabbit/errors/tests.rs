//! Tests of what a refusal means for the message in flight, told by lapin or by the link.

use super::*;
use lapin::{ErrorKind, protocol::AMQPError};
use std::{io, sync::Arc};

fn explained(kind: impl Into<lapin::Error>) -> BrokerError {
    explain(&kind.into())
}

/// The same of both.
fn closed(kind: AMQPErrorKind) -> BrokerError {
    let told = refusal(kind.get_id(), "why");
    let explained = explained(ErrorKind::ProtocolError(AMQPError::new(kind, "why".into())));
    assert_eq!(std::mem::discriminant(&told), std::mem::discriminant(&explained));
    told
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

#[test]
fn a_login_a_queue_and_a_topology_are_told_apart() {
    let login = closed(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED));
    assert!(matches!(login, BrokerError::Login(_)), "{login:?}");
    let host = closed(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED));
    assert!(matches!(host, BrokerError::Login(_)), "{host:?}");
    let missing = closed(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND));
    assert!(matches!(missing, BrokerError::Missing(_)), "{missing:?}");
    let other = closed(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED));
    assert!(matches!(other, BrokerError::Topology(_)), "{other:?}");
}
