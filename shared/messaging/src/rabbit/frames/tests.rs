//! Compares the frames that we let through with lapin's own parser.

use super::*;
use amq_protocol::{
    frame::{AMQPFrame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic::AMQPMethod},
    types::AMQPValue,
};
use proptest::prelude::*;

const CHANNEL: u16 = 7;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(CHANNEL.to_be_bytes());
    frame.extend(length(payload));
    frame.extend(payload);
    frame.push(END);
    frame
}

fn content(properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0];
    payload.extend(3_u64.to_be_bytes());
    payload.extend(properties);
    frame(HEADER, &payload)
}

/// Properties with these flags, of this content.
fn with_flags(flags: u16, content: &[u8]) -> Vec<u8> {
    [&flags.to_be_bytes()[..], content].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn headers(table: &[u8]) -> Vec<u8> {
    with_flags(1 << 13, &[&length(table)[..], table].concat())
}

fn pushed(raw: &[u8]) -> Vec<u8> {
    let (mut frames, mut readable) = (Frames::default(), Vec::new());
    frames.push(raw, &mut readable);
    readable
}

/// The properties as lapin reads them.
fn read(frame: &[u8]) -> BasicProperties {
    match parse_frame(frame) {
        Ok(([], AMQPFrame::Header(CHANNEL, content))) => {
            assert_eq!(content.body_size, 3);
            content.properties
        }
        other => panic!("lapin reads {other:?}"),
    }
}

fn unreadable(properties: &[u8]) -> Option<String> {
    let raw = content(properties);
    let readable = pushed(&raw);
    let read = read(&readable);
    let why = read.headers().as_ref()?.inner().get(header::UNREADABLE)?.clone();
    let AMQPValue::LongString(why) = why else { panic!("{why:?}") };
    Some(why.to_string())
}

#[test]
fn what_lapin_can_read_goes_through_as_it_is() {
    let id = with_flags(1 << 7, &text("é-7".as_bytes()));
    let raw = [
        frame(METHOD, &[0, 10, 0, 11]),
        content(&id),
        frame(BODY, &[0xFF; 300]),
        frame(HEARTBEAT, &[]),
        content(&[0, 0]),
    ]
    .concat();
    assert_eq!(pushed(&raw), raw);
}

#[test]
fn what_it_cannot_read_is_told_and_shown() {
    let no_text = with_flags(1 << 7, &text(b"\xff\xfe"));
    let why = unreadable(&no_text).unwrap();
    assert_eq!(why, "its property message_id contains bytes that are not UTF-8");
    let shown = read(&pushed(&content(&no_text)));
    let shown = &shown.headers().as_ref().unwrap().inner()[header::UNREADABLE_BYTES];
    assert_eq!(*shown, AMQPValue::LongString(r"\x00\x80\x02\xff\xfe".into()));
}

#[test]
fn each_flaw_has_its_name() {
    let named = |bytes: &[u8]| headers(&[text(b"n"), bytes.to_vec()].concat());
    let deep = (0..30).fold(Vec::new(), |inside: Vec<u8>, _| {
        [&text(b"n")[..], b"F", &length(&inside), &inside].concat()
    });
    for (properties, part) in [
        (with_flags(1 << 5, &text(b"\xc3")), "type contains bytes"),
        (with_flags(1 << 15, &[9, b'a']), "content_type is cut off"),
        (with_flags(1 << 6, &[0; 3]), "timestamp is cut off"),
        (with_flags(1, &[]), "unknown to AMQP"),
        (with_flags(0, &[1]), "longer than declared"),
        (headers(&[text(b"\xff"), vec![b'V']].concat()), "headers contains a name"),
        (named(b"?"), "unknown type 0x3f"),
        (named(b"S\0\0\0\x09a"), "headers is cut off"),
        (headers(&deep), "headers is nested"),
        (named(&[b"S", &length(&vec![b'a'; 20_000])[..], &vec![b'a'; 20_000]].concat()), "KiB"),
    ] {
        let why = unreadable(&properties).unwrap_or_else(|| panic!("{part}: it was let through"));
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn properties_are_read_up_to_the_limit_and_replaced_above_it() {
    for (size, is_read) in
        [(PROPERTIES_MAX - 1, true), (PROPERTIES_MAX, true), (PROPERTIES_MAX + 1, false)]
    {
        // Flags, the table's length, and one header: its name, its kind, its length, its text.
        let long = "x".repeat(size - 2 - 4 - 2 - 1 - 4);
        let header = [&text(b"x")[..], b"S", &length(long.as_bytes()), long.as_bytes()].concat();
        let raw = content(&headers(&header));
        assert_eq!(raw.len(), HEAD + CONTENT + size + 1);
        let readable = pushed(&raw);
        assert_eq!(readable == raw, is_read, "{size}");
        read(&readable);
    }
}

#[test]
fn properties_of_megabytes_are_not_kept() {
    let (mut frames, mut readable) = (Frames::default(), Vec::new());
    let raw = content(&vec![0xFF; 5_000_000]);
    for part in raw.chunks(1000) {
        frames.push(part, &mut readable);
        assert!(frames.begun.capacity() < 4 * PROPERTIES_MAX);
    }
    assert!(readable.len() < 2 * PROPERTIES_MAX);
    frames.push(&content(&[0, 0]), &mut readable);
    assert!(readable.ends_with(&content(&[0, 0])), "what comes next is read");
}

#[test]
fn a_body_above_the_limit_is_left_out_and_its_neighbours_are_not() {
    const MAX: usize = 100;
    let header = |size: u64, properties: &[u8]| {
        frame(HEADER, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), properties].concat())
    };
    let of_another = |frame: Vec<u8>| {
        let mut frame = frame;
        frame[2] = 9;
        frame
    };
    let fits = [header(MAX as u64, &[0, 0]), frame(BODY, &[1; MAX])].concat();
    let between = of_another(frame(BODY, &[2; 30]));
    let raw = [
        header(101, &[0, 0]),
        frame(BODY, &[3; 60]),
        of_another(header(30, &[0, 0])),
        frame(BODY, &[3; 41]),
        between.clone(),
        fits.clone(),
    ]
    .concat();
    for cut in [1, 7, raw.len()] {
        let (mut frames, mut readable) = (Frames::new(Some(MAX)), Vec::new());
        raw.chunks(cut).for_each(|part| frames.push(part, &mut readable));
        assert!(frames.left_out.is_empty());
        let Ok((rest, AMQPFrame::Header(CHANNEL, content))) = parse_frame(&readable[..]) else {
            panic!("lapin does not read it");
        };
        assert_eq!(content.body_size, 0);
        let headers = content.properties.headers().clone().unwrap_or_default();
        let why = &headers.inner()[header::UNREADABLE];
        assert_eq!(*why, AMQPValue::LongString("its body takes 0 KiB; 256 KiB are read".into()));
        assert_eq!(rest, [of_another(header(30, &[0, 0])), between.clone(), fits.clone()].concat());
    }
}

#[test]
fn a_routing_key_that_is_no_text_does_not_matter() {
    let deliver =
        [&[0, 60, 0, 60][..], &text(b"tag"), &[0; 9], &text(b"e\xff"), &text(b"\xfe\xffk")];
    let returned = [&[0, 60, 0, 50][..], &[0; 2], &text(b"\xff"), &text(b"e"), &text(b"\xff")];
    let got = [&[0, 60, 0, 71][..], &[0; 9], &text(b"e"), &text(b"\xff"), &[0; 4]];
    let keys =
        [deliver.concat(), returned.concat(), got.concat()].map(|method| {
            match parse_frame(&pushed(&frame(METHOD, &method))[..]) {
                Ok((_, AMQPFrame::Method(CHANNEL, AMQPClass::Basic(method)))) => match method {
                    AMQPMethod::Deliver(it) => it.routing_key.to_string(),
                    AMQPMethod::Return(it) => it.routing_key.to_string(),
                    AMQPMethod::GetOk(it) => it.routing_key.to_string(),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        });
    assert_eq!(keys, ["??k", "?", "?"]);
}

#[test]
fn what_is_no_amqp_is_left_to_lapin() {
    assert_eq!(pushed(b"AMQP\0\0\x09\x01HTTP/1.1"), b"AMQP\0\0\x09\x01HTTP/1.1");
}

/// Bytes that are nearly a table: names, types and sizes that often fit.
fn table() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        Just(b"V".to_vec()),
        Just(b"S\0\0\0\x02\xff\xfe".to_vec()),
        Just(b"l\0\0\0\0\0\0\0\x07".to_vec()),
    ];
    let value = leaf.prop_recursive(8, 64, 4, |inner| {
        (prop_oneof![Just(b'F'), Just(b'A')], proptest::collection::vec(inner, 0..4)).prop_map(
            |(kind, values)| {
                let inside: Vec<u8> = match kind {
                    b'F' => {
                        values.into_iter().flat_map(|value| [text(b"n"), value].concat()).collect()
                    }
                    _ => values.concat(),
                };
                [&[kind][..], &length(&inside), &inside].concat()
            },
        )
    });
    proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..4), value), 0..4).prop_map(
        |entries| {
            entries.into_iter().flat_map(|(name, value)| [text(&name), value].concat()).collect()
        },
    )
}

proptest! {
    /// Any bytes, in any pieces: lapin reads all of it, and nothing is lost.
    #[test]
    fn fuzz_properties(
        flags in any::<u16>(),
        table in table(),
        rest in proptest::collection::vec(any::<u8>(), 0..80),
        has_table in any::<bool>(),
        cut in 1_usize..50,
    ) {
        let properties = match has_table {
            true => [&headers(&table)[..], &rest].concat(),
            false => with_flags(flags, &rest),
        };
        let raw = content(&properties);
        let (mut frames, mut readable) = (Frames::default(), Vec::new());
        raw.chunks(cut).for_each(|part| frames.push(part, &mut readable));
        read(&readable);
        if readable != raw {
            prop_assert!(parse_frame(&raw[..]).is_err() || properties::flaw(&properties).is_some());
        }
    }

    #[test]
    fn fuzz_frames(
        kind in prop_oneof![Just(METHOD), Just(HEADER), Just(BODY), Just(HEARTBEAT)],
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        cut in 1_usize..20,
    ) {
        let raw = [frame(kind, &payload), frame(HEARTBEAT, &[])].concat();
        let (mut frames, mut readable) = (Frames::default(), Vec::new());
        raw.chunks(cut).for_each(|part| frames.push(part, &mut readable));
        prop_assert!(readable.ends_with(&frame(HEARTBEAT, &[])));
        prop_assert!(frames.begun.is_empty());
    }
}
