//! Decodes arbitrary bytes: every delivery becomes a message, and is understood or refused.

use super::fixtures::{Sample, samples};
use super::{message, properties};
use crate::{Header, Message, header};
use lapin::{
    BasicProperties,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

/// Wrong text in place of a text.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        Just("\u{0}".to_owned()),
        Just("order.created".to_owned()),
    ]
}

fn short() -> impl Strategy<Value = ShortString> {
    text().prop_filter_map("a short string is short", |text| ShortString::try_new(text).ok())
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        vec(any::<u8>(), 0..40).prop_map(|text| AMQPValue::LongString(LongString::from(text))),
        vec(any::<u8>(), 0..40).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|all| AMQPValue::FieldArray(FieldArray::from(all))),
            vec((short(), inner), 0..4).prop_map(|all| AMQPValue::FieldTable(table(all))),
        ]
    })
}

fn table(all: Vec<(ShortString, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in all {
        table.insert(name, value);
    }
    table
}

prop_compose! {
    fn any_properties()(
        texts in vec(option::of(short()), 5),
        timestamp in option::of(any::<u64>()),
        own in vec((prop::sample::select(&OWN[..]), value()), 0..6),
        others in vec((short(), value()), 0..6),
    ) -> BasicProperties {
        let own = own.into_iter().map(|(name, value)| (name.into(), value));
        let headers = table(own.chain(others).collect());
        let mut properties = BasicProperties::default().with_headers(headers);
        let [id, kind, correlation, app, content] = texts.try_into().expect("five of them");
        if let Some(id) = id { properties = properties.with_message_id(id); }
        if let Some(kind) = kind { properties = properties.with_type(kind); }
        if let Some(id) = correlation { properties = properties.with_correlation_id(id); }
        if let Some(id) = app { properties = properties.with_app_id(id); }
        if let Some(kind) = content { properties = properties.with_content_type(kind); }
        if let Some(at) = timestamp { properties = properties.with_timestamp(at); }
        properties
    }
}

const OWN: [&str; 9] = [
    header::VERSION,
    header::CAUSE,
    header::TRACE,
    header::ATTEMPT,
    header::REASON,
    header::DELAY,
    header::QUEUE,
    header::REPLAYED,
    header::DEAD,
];

/// JSON tokens in place of another value.
const TOKENS: [&[u8]; 16] = [
    b"null",
    b"-1",
    b"0.001",
    b"1e999999999",
    b"-0",
    b"99999999999999999999",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\"",
    b"\xff\xfe",
    b"",
];

/// A body that was an event's, with some of its bytes replaced.
fn spoilt(body: &[u8], edits: &[(Index, u8, usize)]) -> Vec<u8> {
    let mut body = body.to_vec();
    for (place, length, token) in edits {
        let start = place.index(body.len() + 1);
        let end = (start + usize::from(*length)).min(body.len());
        body.splice(start..end, TOKENS[*token].iter().copied());
    }
    body
}

fn any_sample() -> impl Strategy<Value = usize> {
    0..samples().len()
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8, usize)>> {
    vec((any::<Index>(), 0_u8..12, 0..TOKENS.len()), 0..4)
}

fn decoded(sample: usize, message: &Message) -> Result<serde_json::Value, String> {
    let Sample { decode, .. } = samples().swap_remove(sample);
    decode(message)
}

proptest! {
    #[test]
    fn fuzz_wire_whatever_amqp_delivers_is_a_message(
        delivered in any_properties(),
        body in vec(any::<u8>(), 0..200),
        sample in any_sample(),
    ) {
        let read = message(&delivered, body);
        let again = message(&properties(&read), read.body.clone());
        prop_assert_eq!(&again, &read, "it goes on as it came");
        let _ = (read.trace(), read.number(header::ATTEMPT), read.text(header::REASON));
        let _ = decoded(sample, &read);
    }

    #[test]
    fn fuzz_wire_an_envelope_is_understood_or_refused(
        sample in any_sample(),
        delivered in any_properties(),
        kept in vec(any::<bool>(), 6),
    ) {
        let hostile = message(&delivered, Vec::new());
        let mut told = samples()[sample].outgoing.publication().message;
        if kept[0] { told.id = hostile.id; }
        if kept[1] { told.kind = hostile.kind; }
        if kept[2] { told.correlation_id = hostile.correlation_id; }
        if kept[3] { told.timestamp = hostile.timestamp; }
        if kept[4] { told.headers = hostile.headers.clone(); }
        if kept[5] { told.headers.extend(hostile.headers); }
        if let Err(reason) = decoded(sample, &told) {
            prop_assert!(!reason.is_empty());
        }
    }

    #[test]
    fn fuzz_payload_any_bytes_are_an_event_or_none(
        sample in any_sample(),
        body in prop_oneof![vec(any::<u8>(), 0..300), any::<String>().prop_map(Into::into)],
    ) {
        let mut told = samples()[sample].outgoing.publication().message;
        told.body = body;
        prop_assert!(decoded(sample, &told).is_err(), "{:?}", told.body);
    }

    #[test]
    fn fuzz_payload_a_spoilt_event_is_refused_or_comes_back_as_it_was_read(
        sample in any_sample(),
        edits in edits(),
    ) {
        let mut told = samples()[sample].outgoing.publication().message;
        told.body = spoilt(&told.body, &edits);
        if let Ok(event) = decoded(sample, &told) {
            told.body = event.to_string().into_bytes();
            prop_assert_eq!(decoded(sample, &told), Ok(event));
        }
    }

    #[test]
    fn fuzz_payload_what_is_not_known_yet_is_passed_over(
        sample in any_sample(),
        name in "[a-z]{12,20}",
        token in prop::sample::select(&["null", "-1.5e300", "[{}]", "{\"a\":[\"b\"]}", "true"][..]),
    ) {
        let mut told = samples()[sample].outgoing.publication().message;
        let known = decoded(sample, &told);
        prop_assert!(known.is_ok());
        let more = format!("{{\"{name}\":{token},");
        told.body.splice(..1, more.into_bytes());
        told.headers.insert(name, Header::Number(1));
        prop_assert_eq!(decoded(sample, &told), known);
    }
}
