//! Tests of a connection with a broker that follows a script.

use super::*;
use crate::Message;
use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{
        AMQPClass,
        basic::{self, AMQPMethod as BasicMethod},
        channel::{self as channels, AMQPMethod as ChannelMethod},
        confirm,
        connection::AMQPMethod as ConnectionMethod,
        connection::{Close, CloseOk, OpenOk, Start, Tune},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const URI: &str = "amqp://localhost/%2f?heartbeat=6&frame_max=32768";
const BODY_MAX: usize = 1000;

/// The broker's side.
struct Scripted(Framed);

impl Scripted {
    async fn hears(&mut self) -> AMQPFrame {
        self.0.receive().await.unwrap()
    }

    async fn says(&mut self, frame: AMQPFrame) {
        self.0.push(&frame);
        self.0.send().await.unwrap();
    }

    async fn says_of_all(&mut self, method: ConnectionMethod) {
        self.says(AMQPFrame::Method(0, AMQPClass::Connection(method))).await;
    }

    async fn greets(&mut self) {
        assert!(matches!(self.hears().await, AMQPFrame::ProtocolHeader(_)));
        let mechanisms = "PLAIN AMQPLAIN".into();
        self.says_of_all(ConnectionMethod::Start(Start { mechanisms, ..Start::default() })).await;
        self.hears().await;
    }

    async fn lets_in(&mut self) {
        self.greets().await;
        let tune = Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
        self.says_of_all(ConnectionMethod::Tune(tune)).await;
        // The answer, and the opening.
        self.hears().await;
        self.hears().await;
        self.says_of_all(ConnectionMethod::OpenOk(OpenOk {})).await;
    }

    async fn opens_a_channel(&mut self) {
        let opened = self.hears().await;
        let AMQPFrame::Method(id, AMQPClass::Channel(ChannelMethod::Open(_))) = opened else {
            panic!("{opened:?}")
        };
        let open_ok = ChannelMethod::OpenOk(channels::OpenOk {});
        self.says(AMQPFrame::Method(id, AMQPClass::Channel(open_ok))).await;
    }

    async fn delivers(&mut self, channel: u16, delivery_tag: u64, body: &[u8]) {
        let deliver = basic::Deliver { delivery_tag, ..basic::Deliver::default() };
        let deliver = AMQPClass::Basic(BasicMethod::Deliver(deliver));
        self.says(AMQPFrame::Method(channel, deliver)).await;
        let properties = basic::AMQPProperties::default();
        let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
        self.says(AMQPFrame::Header(channel, header)).await;
        self.says(AMQPFrame::Body(channel, body.to_vec())).await;
    }
}

/// A socket that holds so many bytes in each direction, and its other end.
fn sockets(bytes: usize) -> (Box<dyn Socket>, Scripted) {
    let (ours, theirs) = tokio::io::duplex(bytes);
    (Box::new(ours), Scripted(Framed::new(Box::new(theirs), BODY_MAX)))
}

async fn linked(bytes: usize) -> (Link, Scripted) {
    let (socket, mut broker) = sockets(bytes);
    let uri = URI.parse().unwrap();
    let opening = Link::over(socket, &uri, "till: tests", BODY_MAX);
    let (link, ()) = tokio::join!(opening, broker.lets_in());
    (link.unwrap(), broker)
}

async fn channel(link: &Link, broker: &mut Scripted) -> LinkChannel {
    let (channel, ()) = tokio::join!(link.channel(), broker.opens_a_channel());
    channel.unwrap()
}

fn publication(body: &[u8]) -> Publication {
    let message = Message { id: Some("a".into()), body: body.into(), ..Message::default() };
    Publication { exchange: "till.exchange".into(), routing_key: "till.paid".into(), message }
}

#[tokio::test]
async fn a_refused_login_is_told_from_a_broker_that_is_gone() {
    let uri = URI.parse().unwrap();
    let (socket, mut broker) = sockets(4096);
    let refuses = async {
        broker.greets().await;
        let close = Close { reply_code: 403, reply_text: "no".into(), ..Close::default() };
        broker.says_of_all(ConnectionMethod::Close(close)).await;
    };
    let (refused, ()) = tokio::join!(Link::over(socket, &uri, "till: tests", BODY_MAX), refuses);
    assert!(matches!(refused.err(), Some(BrokerError::Login(_))));
    let (socket, mut broker) = sockets(4096);
    let goes = async move { broker.greets().await };
    let (gone, ()) = tokio::join!(Link::over(socket, &uri, "till: tests", BODY_MAX), goes);
    assert!(matches!(gone.err(), Some(BrokerError::Away(_))));
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_sends_heartbeats_and_a_silent_broker_ends_it() {
    let (link, mut broker) = linked(4096).await;
    for _ in 0..3 {
        sleep(Duration::from_secs(10)).await;
        broker.says(AMQPFrame::Heartbeat).await;
    }
    let (mut heartbeats, began) = (0, Instant::now());
    while let Ok(frame) = broker.0.receive().await {
        assert!(matches!(frame, AMQPFrame::Heartbeat), "{frame:?}");
        heartbeats += 1;
    }
    assert_eq!(began.elapsed().as_secs(), 12);
    // One in three seconds, of 42.
    assert!((13..=14).contains(&heartbeats), "{heartbeats}");
    assert!(matches!(link.channel().await.err(), Some(BrokerError::Away(_))));
}

#[tokio::test]
async fn deliveries_go_on_while_the_broker_does_not_read() {
    // Each frame arrives in pieces.
    let (link, mut broker) = linked(7).await;
    let publishing = channel(&link, &mut broker).await;
    let mut consuming = channel(&link, &mut broker).await;
    let burst = [publication(&[b'x'; 500])];
    let delivered = async {
        for tag in 1..4 {
            broker.delivers(consuming.id, tag, b"some body").await;
            let one = consuming.next().await.unwrap();
            assert_eq!((one.tag, one.redelivered, &one.body[..]), (tag, false, &b"some body"[..]));
        }
    };
    tokio::select! {
        biased;
        _ = publishing.publish(&burst) => panic!("the broker has not read it"),
        () = delivered => {}
    }
}

#[tokio::test]
async fn replies_and_confirms_come_to_those_who_wait_for_them() {
    let (link, mut broker) = linked(4096).await;
    let channel = channel(&link, &mut broker).await;
    let confirmed = async {
        broker.hears().await;
        let selected = AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));
        broker.says(AMQPFrame::Method(channel.id, selected)).await;
        // Twice a method, a header, a body.
        for _ in 0..6 {
            broker.hears().await;
        }
        let ack = BasicMethod::Ack(basic::Ack { delivery_tag: 2, multiple: true });
        broker.says(AMQPFrame::Method(channel.id, AMQPClass::Basic(ack))).await;
        assert!(matches!(
            broker.hears().await,
            AMQPFrame::Method(_, AMQPClass::Basic(BasicMethod::Ack(_)))
        ));
        broker.hears().await;
        broker.says_of_all(ConnectionMethod::CloseOk(CloseOk {})).await;
    };
    let published = async {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        channel.call(AMQPClass::Confirm(select)).await.unwrap();
        let burst = [publication(b"one"), publication(b"other")];
        let confirms = channel.publish(&burst).await.unwrap();
        let ack = basic::Ack { delivery_tag: 1, multiple: true };
        channel.tell(AMQPClass::Basic(BasicMethod::Ack(ack))).unwrap();
        channel.written().await.unwrap();
        link.close().await;
        confirms
    };
    let (confirms, ()) = tokio::join!(published, confirmed);
    assert_eq!(confirms, [Confirm::Stored, Confirm::Stored]);
}

#[tokio::test]
async fn a_closed_channel_fails_what_waits_on_it_and_the_link_goes_on() {
    let (link, mut broker) = linked(4096).await;
    let mut closed = channel(&link, &mut broker).await;
    let burst = [publication(b"too large")];
    let close = async {
        for _ in 0..3 {
            broker.hears().await;
        }
        let reply_text = "PRECONDITION_FAILED - too large".into();
        let close = channels::Close { reply_code: 406, reply_text, ..Default::default() };
        let close = AMQPClass::Channel(ChannelMethod::Close(close));
        broker.says(AMQPFrame::Method(closed.id, close)).await;
        assert!(matches!(
            broker.hears().await,
            AMQPFrame::Method(_, AMQPClass::Channel(ChannelMethod::CloseOk(_)))
        ));
    };
    let (published, ()) = tokio::join!(closed.publish(&burst), close);
    assert!(matches!(published, Err(BrokerError::Topology(why)) if why.contains("too large")));
    assert!(closed.next().await.is_none());
    assert!(matches!(closed.publish(&burst).await, Err(BrokerError::Away(_))));
    channel(&link, &mut broker).await;
}

#[tokio::test]
async fn a_lost_socket_may_be_the_fault_of_what_was_being_sent() {
    let (link, mut broker) = linked(4096).await;
    let mut channel = channel(&link, &mut broker).await;
    let burst = [publication(b"one")];
    let lost = async move {
        for _ in 0..4 {
            broker.hears().await;
        }
    };
    let qos = AMQPClass::Basic(BasicMethod::Qos(basic::Qos::default()));
    let (published, called, ()) = tokio::join!(channel.publish(&burst), channel.call(qos), lost);
    assert!(matches!(published, Err(BrokerError::Ended(_))));
    assert!(matches!(called, Err(BrokerError::Away(_))));
    assert!(channel.next().await.is_none());
}

#[tokio::test]
async fn without_a_handle_the_socket_is_closed() {
    let (link, mut broker) = linked(4096).await;
    drop(link);
    assert!(broker.0.receive().await.is_err());
}
