//! Fuzzes exported files: each line is either a dead letter, or refused with a reason.

use std::collections::BTreeMap;

use messaging::wire;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => any::<String>(),
        1 => "[a-z]{250,260}",
        1 => Just("\u{0}".to_owned()),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    prop_oneof![any::<i64>().prop_map(Header::from), text().prop_map(Header::from)]
}

/// Includes event names that no service publishes, and queue names that do not exist.
fn any_letter(text: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = Letter> {
    let properties = vec(option::of(text.clone()), 5);
    let headers = btree_map(text.clone(), any_header(), 0..4);
    let body = prop_oneof![
        vec(any::<u8>(), 0..60),
        any::<String>().prop_map(Into::into),
        Just(br#"{"order_id":1.50,"a":[{}]}"#.to_vec()),
        (0_usize..300).prop_map(|deep| ["[".repeat(deep), "]".repeat(deep)].concat().into()),
    ];
    (text, properties, option::of(any::<u64>()), headers, body).prop_map(
        |(parked, properties, timestamp, headers, body)| {
            let [id, kind, correlation_id, app_id, content_type] =
                properties.try_into().expect("five of them");
            let message = Message {
                id,
                kind,
                correlation_id,
                app_id,
                timestamp,
                content_type,
                headers,
                body,
            };
            Letter { parked, message }
        },
    )
}

/// Parses a line as the command does, up to the publication.
fn read(text: &str) -> Result<Letter> {
    let line: Line = serde_json::from_str(text)?;
    let (letter, _) = line.letter()?;
    wire::properties(&letter.message);
    let _ = (letter.origin(), letter.event_id(), letter.order_id(), letter.died_at());
    let _ = (letter.reason(), letter.attempts());
    wire::properties(&letter.for_replay(chrono::DateTime::UNIX_EPOCH));
    Ok(letter)
}

const TOKENS: [&str; 12] = [
    "null",
    "-1",
    "1.5",
    "1e999",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[",
    "}",
    "{\"a\":[]}",
    "\"",
    ",",
    "",
];

proptest! {
    #[test]
    fn fuzz_dlq_import_what_was_exported_comes_back(letter in any_letter("[ -~é\u{0}]{0,60}")) {
        let text = serde_json::to_string(&Line::of(&letter)).unwrap();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(read(&text).unwrap(), letter);
    }

    #[test]
    fn fuzz_dlq_import_any_text_is_read_or_refused(text in any::<String>()) {
        prop_assert!(read(&text).is_err());
    }

    #[test]
    fn fuzz_dlq_import_a_spoilt_line_is_read_or_refused(
        letter in any_letter(text().boxed()),
        edits in vec((any::<Index>(), 0_usize..12, 0..TOKENS.len()), 0..3),
    ) {
        let text = serde_json::to_string(&Line::of(&letter)).unwrap();
        let mut text: Vec<char> = text.chars().collect();
        for (place, length, token) in edits {
            let start = place.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, TOKENS[token].chars());
        }
        let _ = read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn fuzz_dlq_import_any_headers_are_read_or_refused(
        headers in btree_map(text(), option::of(any::<f64>()), 0..4),
        digest in "[0-9a-f]{0,40}",
        hex in "[0-9a-fg]{0,40}",
    ) {
        let headers: BTreeMap<_, _> = headers.into_iter().collect();
        let line = serde_json::json!({
            "queue": "order.payment-failed.dlq", "headers": headers, "digest": digest, "hex": hex,
        });
        let _ = read(&line.to_string());
    }
}
