//! Writes publications as frames. Pure.

use super::framed::write;
use crate::{BrokerError, Publication, wire};
use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{
        AMQPClass,
        basic::{AMQPMethod, Publish},
        constants::{FRAME_BODY, FRAME_END},
    },
};

const BASIC: u16 = 60;
/// A frame's bytes besides its content.
const AROUND: usize = 8;

/// The frames of all of them, of at most `frame_max` bytes each. Fails if the properties of one do
/// not fit: RabbitMQ would end the connection.
pub fn frames(
    channel: u16,
    frame_max: usize,
    burst: &[Publication],
) -> Result<Vec<u8>, BrokerError> {
    let mut out = Vec::new();
    for Publication { exchange, routing_key, message } in burst {
        let publish = Publish {
            exchange: exchange.as_str().into(),
            routing_key: routing_key.as_str().into(),
            mandatory: true,
            immediate: false,
        };
        write(
            &AMQPFrame::Method(channel, AMQPClass::Basic(AMQPMethod::Publish(publish))),
            &mut out,
        );
        let before = out.len();
        let header = AMQPContentHeader {
            class_id: BASIC,
            body_size: message.body.len() as u64,
            properties: wire::properties(message),
        };
        write(&AMQPFrame::Header(channel, header), &mut out);
        let size = out.len() - before;
        if size > frame_max {
            return Err(BrokerError::Ended(format!(
                "not sent: the properties of message {} take {size} bytes; a frame has {frame_max}",
                message.id.as_deref().unwrap_or_default()
            )));
        }
        for part in message.body.chunks(frame_max.saturating_sub(AROUND).max(1)) {
            body(channel, part, &mut out);
        }
    }
    Ok(out)
}

/// Appends one frame of a body.
fn body(channel: u16, part: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(part.len()).expect("a frame's size has four bytes");
    out.push(FRAME_BODY);
    out.extend(channel.to_be_bytes());
    out.extend(size.to_be_bytes());
    out.extend(part);
    out.push(FRAME_END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, header};
    use amq_protocol::frame::parse_frame;
    use proptest::prelude::*;

    fn publication(body: Vec<u8>) -> Publication {
        let message = Message { id: Some("message-1".into()), body, ..Message::default() };
        Publication { exchange: "till.exchange".into(), routing_key: "till.paid".into(), message }
    }

    fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
        let mut parsed = Vec::new();
        while !bytes.is_empty() {
            let (rest, frame) = parse_frame(bytes).unwrap();
            bytes = rest;
            parsed.push(frame);
        }
        parsed
    }

    #[test]
    fn properties_that_do_not_fit_into_a_frame_are_not_sent() {
        let mut large = publication(vec![]);
        large.message = large.message.with(header::REASON, "x".repeat(5000));
        let refused = frames(1, 4096, &[publication(vec![]), large.clone()]);
        assert!(matches!(&refused, Err(BrokerError::Ended(why)) if why.contains("message-1")));
        assert!(frames(1, 8192, &[large]).is_ok());
    }

    proptest! {
        #[test]
        fn a_body_of_any_size_is_cut_into_frames(
            body in prop::collection::vec(any::<u8>(), 0..2000),
            frame_max in 200_usize..1000,
        ) {
            let bytes = frames(7, frame_max, &[publication(body.clone())]).unwrap();
            let mut read = parsed(&bytes).into_iter();
            let method = read.next();
            let Some(AMQPFrame::Method(7, AMQPClass::Basic(AMQPMethod::Publish(sent)))) = method
            else { panic!("{method:?}") };
            prop_assert!(sent.mandatory);
            prop_assert_eq!(sent.routing_key.as_str(), "till.paid");
            let header = read.next();
            let Some(AMQPFrame::Header(7, header)) = header else { panic!("{header:?}") };
            prop_assert_eq!(header.body_size, body.len() as u64);
            let mut joined = Vec::new();
            for frame in read {
                let AMQPFrame::Body(7, part) = frame else { panic!("{frame:?}") };
                prop_assert!(part.len() + AROUND <= frame_max && !part.is_empty());
                joined.extend(part);
            }
            prop_assert_eq!(joined, body);
        }
    }
}
