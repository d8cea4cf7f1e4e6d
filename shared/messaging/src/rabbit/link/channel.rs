//! One channel of a connection: its replies in order, its deliveries, its confirms. Pure.

use super::confirms::{Answer, Confirms};
use crate::BrokerError;
use amq_protocol::{
    frame::AMQPContentHeader,
    protocol::{AMQPClass, BasicProperties, basic::AMQPMethod},
    types::ShortString,
};
use std::collections::VecDeque;
use tokio::sync::mpsc;

pub struct Channel {
    /// Those who wait for replies, which come in the order of the calls.
    calls: VecDeque<Answer<AMQPClass>>,
    pub confirms: Confirms,
    /// The message that is arriving.
    content: Option<Content>,
    /// `None` after the consumer's end. Unbounded, since the prefetch bounds it.
    deliveries: Option<mpsc::UnboundedSender<Arrived>>,
}

/// A delivery.
pub struct Arrived {
    pub tag: u64,
    pub redelivered: bool,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

/// A message in parts: a method, a header, frames of the body.
struct Content {
    kind: Kind,
    properties: BasicProperties,
    body: Vec<u8>,
    /// The missing bytes of the body, once the header is there.
    left: Option<u64>,
}

enum Kind {
    Delivery { tag: u64, redelivered: bool },
    Return,
}

impl Channel {
    pub fn new(deliveries: mpsc::UnboundedSender<Arrived>) -> Self {
        Self {
            calls: VecDeque::new(),
            confirms: Confirms::default(),
            content: None,
            deliveries: Some(deliveries),
        }
    }

    pub fn expect(&mut self, answer: Answer<AMQPClass>) {
        self.calls.push_back(answer);
    }

    /// An error ends the whole connection.
    pub fn method(&mut self, method: AMQPClass) -> Result<(), BrokerError> {
        let AMQPClass::Basic(method) = method else { return self.reply(method) };
        match method {
            AMQPMethod::Deliver(one) => {
                let (tag, redelivered) = (one.delivery_tag, one.redelivered);
                return self.begin(Kind::Delivery { tag, redelivered });
            }
            AMQPMethod::GetOk(one) => {
                let (tag, redelivered) = (one.delivery_tag, one.redelivered);
                self.begin(Kind::Delivery { tag, redelivered })?;
                return self.reply(AMQPClass::Basic(AMQPMethod::GetOk(one)));
            }
            AMQPMethod::Return(_) => return self.begin(Kind::Return),
            AMQPMethod::Ack(ack) => self.confirms.settle(ack.delivery_tag, ack.multiple, false),
            AMQPMethod::Nack(nack) => self.confirms.settle(nack.delivery_tag, nack.multiple, true),
            // The queue was deleted, or its node stopped.
            AMQPMethod::Cancel(_) => self.deliveries = None,
            reply => return self.reply(AMQPClass::Basic(reply)),
        }
        Ok(())
    }

    fn reply(&mut self, reply: AMQPClass) -> Result<(), BrokerError> {
        let answer = self.calls.pop_front().ok_or_else(|| unexpected("reply"))?;
        // The caller may have given up at its deadline.
        let _ = answer.send(Ok(reply));
        Ok(())
    }

    fn begin(&mut self, kind: Kind) -> Result<(), BrokerError> {
        if self.content.is_some() {
            return Err(unexpected("message within another one"));
        }
        let properties = BasicProperties::default();
        self.content = Some(Content { kind, properties, body: Vec::new(), left: None });
        Ok(())
    }

    pub fn header(&mut self, header: AMQPContentHeader) -> Result<(), BrokerError> {
        let begun = self.content.as_mut().filter(|content| content.left.is_none());
        let content = begun.ok_or_else(|| unexpected("content header"))?;
        content.properties = header.properties;
        content.left = Some(header.body_size);
        self.complete();
        Ok(())
    }

    pub fn body(&mut self, part: Vec<u8>) -> Result<(), BrokerError> {
        let begun = self.content.as_mut().and_then(|content| {
            let left = content.left?.checked_sub(part.len() as u64)?;
            Some((content, left))
        });
        let (content, left) = begun.ok_or_else(|| unexpected("part of a body"))?;
        content.left = Some(left);
        if content.body.is_empty() {
            // Most bodies are one frame.
            content.body = part;
        } else {
            content.body.extend(part);
        }
        self.complete();
        Ok(())
    }

    /// Hands over the message, if it is whole.
    fn complete(&mut self) {
        let whole = self.content.take_if(|content| content.left == Some(0));
        let Some(Content { kind, properties, body, .. }) = whole else { return };
        match kind {
            Kind::Delivery { tag, redelivered } => {
                if let Some(deliveries) = &self.deliveries {
                    // Without a consumer, it is delivered again in the next session.
                    let _ = deliveries.send(Arrived { tag, redelivered, properties, body });
                }
            }
            Kind::Return => {
                let id = properties.message_id().as_ref().map(ShortString::as_str);
                self.confirms.returned(id);
            }
        }
    }

    /// It has ended: this to those who wait for replies, and this to those who wait for confirms.
    pub fn fail(self, calls: &BrokerError, bursts: &BrokerError) {
        for answer in self.calls {
            let _ = answer.send(Err(calls.clone()));
        }
        self.confirms.fail(bursts);
    }
}

fn unexpected(what: &str) -> BrokerError {
    BrokerError::Ended(format!("the broker sent an unexpected {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Confirm, Message, wire};
    use amq_protocol::protocol::basic::{Ack, Cancel, Deliver, GetOk, Return};
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    fn channel() -> (Channel, mpsc::UnboundedReceiver<Arrived>) {
        let (deliveries, arriving) = mpsc::unbounded_channel();
        (Channel::new(deliveries), arriving)
    }

    fn deliver(delivery_tag: u64) -> AMQPClass {
        let method = Deliver { delivery_tag, redelivered: true, ..Deliver::default() };
        AMQPClass::Basic(AMQPMethod::Deliver(method))
    }

    fn header(id: &str, body: &[u8]) -> AMQPContentHeader {
        let message = Message { id: Some(id.into()), ..Message::default() };
        AMQPContentHeader {
            class_id: 60,
            body_size: body.len() as u64,
            properties: wire::properties(&message),
        }
    }

    #[test]
    fn a_returned_message_is_unroutable_though_it_is_confirmed() {
        let (mut channel, _arriving) = channel();
        let (answer, mut confirmed) = oneshot::channel();
        channel.confirms.expect(vec![Some("a".into()), Some("b".into())], answer);
        channel.method(AMQPClass::Basic(AMQPMethod::Return(Return::default()))).unwrap();
        channel.header(header("b", b"body")).unwrap();
        channel.body(b"body".to_vec()).unwrap();
        let ack = Ack { delivery_tag: 2, multiple: true };
        channel.method(AMQPClass::Basic(AMQPMethod::Ack(ack))).unwrap();
        let confirms = confirmed.try_recv().unwrap().unwrap();
        assert_eq!(confirms, [Confirm::Stored, Confirm::Unroutable]);
    }

    #[test]
    fn a_message_that_was_asked_for_arrives_as_all_others_do() {
        let (mut channel, mut arriving) = channel();
        let (answer, mut answered) = oneshot::channel();
        channel.expect(answer);
        let method = GetOk { delivery_tag: 7, ..GetOk::default() };
        channel.method(AMQPClass::Basic(AMQPMethod::GetOk(method))).unwrap();
        let reply = answered.try_recv().unwrap().unwrap();
        assert!(matches!(reply, AMQPClass::Basic(AMQPMethod::GetOk(_))), "{reply:?}");
        channel.header(header("a", b"body")).unwrap();
        channel.body(b"body".to_vec()).unwrap();
        assert_eq!(arriving.try_recv().map(|one| one.tag), Ok(7));
    }

    #[test]
    fn a_cancelled_consumer_has_no_more_deliveries() {
        let (mut channel, mut arriving) = channel();
        channel.method(deliver(1)).unwrap();
        channel.header(header("a", b"")).unwrap();
        channel.method(AMQPClass::Basic(AMQPMethod::Cancel(Cancel::default()))).unwrap();
        assert_eq!(arriving.try_recv().map(|one| one.tag), Ok(1));
        assert!(arriving.is_closed());
    }

    #[test]
    fn what_belongs_to_nothing_is_an_error() {
        let (mut channel, _arriving) = channel();
        assert!(channel.header(header("a", b"")).is_err());
        assert!(channel.body(vec![1]).is_err());
        channel.method(deliver(1)).unwrap();
        assert!(channel.body(vec![1]).is_err(), "its header is missing");
        assert!(channel.method(deliver(2)).is_err());
        channel.header(header("a", b"ab")).unwrap();
        assert!(channel.body(b"abc".to_vec()).is_err(), "it is longer than its header says");
    }

    proptest! {
        #[test]
        fn a_delivery_is_whole_however_its_body_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
            size in 1_usize..100,
        ) {
            let (mut channel, mut arriving) = channel();
            for (tag, body) in (1..).zip(&bodies) {
                channel.method(deliver(tag)).unwrap();
                channel.header(header("a", body)).unwrap();
                for part in body.chunks(size) {
                    prop_assert!(arriving.try_recv().is_err(), "it is not whole");
                    channel.body(part.to_vec()).unwrap();
                }
                let one = arriving.try_recv().unwrap();
                prop_assert_eq!((one.tag, one.redelivered), (tag, true));
                let message = wire::message(&one.properties, one.body);
                prop_assert_eq!(message.id.as_deref(), Some("a"));
                prop_assert_eq!(&message.body, body);
            }
        }
    }
}
