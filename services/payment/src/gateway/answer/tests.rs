use super::*;
use proptest::prelude::*;
use serde_json::json;

const ALL: [Asked; 4] = [Asked::Charge, Asked::LookUp, Asked::Void, Asked::Refund];

fn on(asked: Asked, status: u16, body: &str) -> Verdict {
    read(asked, Answer { status, retry_after: None, body: body.as_bytes() })
}

fn done(reference: &str) -> Verdict {
    Verdict::Done { reference: reference.into() }
}

#[test]
fn a_word_counts_only_as_the_answer_to_its_question() {
    let approved = r#"{"status":"approved","reference":"R","amount":1.5}"#;
    let refunded = r#"{"status":"refunded","reference":"R"}"#;
    let voided = r#"{"status":"voided"}"#;
    for asked in [Asked::Charge, Asked::LookUp, Asked::Void] {
        assert_eq!(on(asked, 200, approved), done("R"));
    }
    assert_eq!(on(Asked::Refund, 200, refunded), done("R"));
    assert_eq!(on(Asked::Void, 200, voided), Verdict::Voided);
    assert_eq!(on(Asked::LookUp, 404, ""), Verdict::NotCharged);
    assert_eq!(on(Asked::Charge, 410, voided), Verdict::Voided);
    let reason = "422: card declined".to_owned();
    let said = r#"{"status":"declined","reason":"card declined"}"#;
    assert_eq!(on(Asked::Charge, 422, said), Verdict::Declined { reason: reason.clone() });
    assert_eq!(on(Asked::LookUp, 200, said), Verdict::Declined { reason });
    let senseless = [(Asked::Charge, voided), (Asked::Charge, refunded), (Asked::Refund, approved)];
    for (asked, body) in senseless {
        assert!(matches!(on(asked, 200, body), Verdict::Unknown { .. }), "{asked:?} {body}");
    }
}

#[test]
fn what_is_no_documented_word_is_unknown() {
    let approved = r#"{"status":"approved","reference":"R"}"#;
    for asked in ALL {
        for status in [201, 203, 204, 206, 300, 301, 302, 307, 308, 408, 409, 500, 502, 504, 599] {
            for body in ["", approved] {
                let verdict = on(asked, status, body);
                assert!(matches!(verdict, Verdict::Unknown { .. }), "{asked:?} {status}");
            }
        }
        for garbage in ["", "ok", "{}", r#"{"status":7}"#, r#"[{"status":"approved"}]"#, "\0"] {
            assert!(matches!(on(asked, 200, garbage), Verdict::Unknown { .. }), "{garbage}");
        }
        for status in [429, 503] {
            assert!(matches!(on(asked, status, "<html>"), Verdict::Unavailable { .. }));
        }
        assert!(matches!(on(asked, 202, approved), Verdict::Pending { .. }));
        assert!(matches!(on(asked, 200, r#"{"status":"pending"}"#), Verdict::Pending { .. }));
    }
    assert!(matches!(on(Asked::Charge, 410, "<html>gone</html>"), Verdict::Refused { .. }));
}

#[test]
fn a_wrong_request_is_neither_a_decline_nor_the_providers_failure() {
    for asked in ALL {
        for status in [400, 402, 405, 413] {
            assert!(matches!(on(asked, status, ""), Verdict::Refused { .. }), "{status}");
        }
    }
    for asked in [Asked::Charge, Asked::Void, Asked::Refund] {
        assert!(matches!(on(asked, 404, ""), Verdict::Refused { .. }));
    }
    for asked in [Asked::LookUp, Asked::Void, Asked::Refund] {
        assert!(matches!(on(asked, 422, ""), Verdict::Refused { .. }));
    }
}

#[test]
fn who_is_not_let_in_has_no_answer() {
    for asked in ALL {
        for status in [401, 403] {
            for body in ["", r#"{"status":"approved","reference":"R"}"#, r#"{"status":"declined"}"#]
            {
                let verdict = on(asked, status, body);
                assert!(matches!(verdict, Verdict::Unauthorised { .. }), "{asked:?} {verdict:?}");
            }
        }
    }
}

#[test]
fn an_answer_is_about_what_was_asked() {
    let request = Request {
        order_id: uuid::Uuid::from_u128(7),
        key: uuid::Uuid::from_u128(1),
        method: events::PaymentMethod::Pix,
        amount: Money::cents(4990),
        attempt: 1,
        trace: None,
    };
    let wrong = |body: &str| mismatch(&request, body.as_bytes());
    let order = r#""order_id":"00000000-0000-0000-0000-000000000007""#;
    for right in ["", "{}", r#"{"amount":49.90}"#, r#"{"amount":"49.9"}"#, r#"{"amount":4.99e1}"#] {
        assert_eq!(wrong(right), None, "{right}");
    }
    assert_eq!(wrong(&format!(r#"{{{order},"amount":49.90}}"#)), None);
    for other in [
        r#"{"amount":49.91}"#,
        r#"{"amount":4990}"#,
        r#"{"amount":-49.90}"#,
        r#"{"amount":49.901}"#,
        r#"{"amount":"a lot"}"#,
        r#"{"amount":[49.90]}"#,
        r#"{"order_id":"00000000-0000-0000-0000-000000000008","amount":49.90}"#,
        r#"{"order_id":7,"amount":49.90}"#,
    ] {
        assert!(wrong(other).is_some_and(|why| why.chars().count() <= TEXT_MAX + 30), "{other}");
    }
}

#[test]
fn what_the_provider_says_is_cleaned_and_bounded() {
    let approved = |reference: Value| {
        let body = json!({"status": "approved", "reference": reference});
        match on(Asked::Charge, 200, &body.to_string()) {
            Verdict::Done { reference } => reference,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        approved("a\0b\u{1b}[31m\u{202e}\r\n".into()),
        "a\u{fffd}b\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}"
    );
    assert_eq!(approved(12345.into()), "12345");
    for none in [Value::Null, "".into(), json!([1])] {
        assert_eq!(approved(none), "(no reference)", "the word is what counts");
    }
    let long = approved("ä".repeat(100_000).into());
    assert_eq!((long.chars().count(), long.ends_with("ä…")), (TEXT_MAX, true));
    assert_eq!(approved("x".repeat(TEXT_MAX).into()), "x".repeat(TEXT_MAX));
}

prop_compose! {
    /// Sometimes nearly valid: misreadings hide there.
    fn any_body()(
        word in prop_oneof!["approved", "declined", "voided", "refunded", "pending", ".*"],
        reference in any::<String>(),
        reason in any::<String>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..200_usize,
        shape in 0..4,
    ) -> Vec<u8> {
        let whole = json!({"status": word, "reference": reference, "reason": reason}).to_string();
        match shape {
            0 | 1 => whole.into_bytes(),
            2 => whole.into_bytes().into_iter().take(cut).collect(),
            _ => bytes,
        }
    }
}

proptest! {
    /// Any answer: no panic, a decline only by the documented statuses, and texts that can be
    /// stored.
    #[test]
    fn fuzz_any_answer_is_read_safely(
        asked in prop::sample::select(ALL.to_vec()),
        status in prop_oneof![100..600_u16, Just(200), Just(404), Just(410), Just(422), Just(503)],
        body in any_body(),
    ) {
        let verdict = read(asked, Answer { status, retry_after: None, body: &body });
        let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let word = said["status"].as_str().unwrap_or_default();
        let documented = match verdict {
            Verdict::Done { .. } => status == 200 && matches!(word, "approved" | "refunded"),
            Verdict::Declined { .. } => {
                (status, asked) == (422, Asked::Charge) || (status, word) == (200, "declined")
            }
            Verdict::Voided => word == "voided" && matches!(status, 200 | 410),
            Verdict::NotCharged => (status, asked) == (404, Asked::LookUp),
            Verdict::Unsent { .. } => false,
            _ => true,
        };
        prop_assert!(documented, "{asked:?} {status} {word}: {verdict:?}");
        let text = verdict.reason();
        prop_assert!(text.chars().count() <= TEXT_MAX + 5, "{text}");
        prop_assert!(text.chars().all(is_plain), "{text:?}");
    }
}
