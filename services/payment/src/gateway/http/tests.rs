use super::*;
use events::{Money, PaymentMethod};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const ALL: [Asked; 4] = [Asked::Charge, Asked::LookUp, Asked::Void, Asked::Refund];

fn on(asked: Asked, status: u16, body: &str) -> Verdict {
    read(asked, StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
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
    assert_eq!(on(Asked::Charge, 410, ""), Verdict::Voided);
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
fn only_what_surely_did_nothing_counts_as_unavailable() {
    for asked in ALL {
        for status in [429, 503] {
            assert!(matches!(on(asked, status, "<html>"), Verdict::Unavailable { .. }));
        }
        for status in [408, 409, 500, 502, 504, 599] {
            assert!(matches!(on(asked, status, ""), Verdict::Unknown { .. }), "{status}");
        }
        for garbage in ["", "ok", "{}", r#"{"status":"approved"}"#, r#"{"status":7}"#] {
            assert!(matches!(on(asked, 200, garbage), Verdict::Unknown { .. }), "{garbage}");
        }
    }
}

#[test]
fn a_wrong_request_is_neither_a_decline_nor_the_providers_failure() {
    for asked in ALL {
        for status in [301, 400, 401, 403, 405, 413] {
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
fn an_address_that_cannot_be_is_named_with_an_example() {
    for wrong in ["", "nowhere", "https://bank.example", "http://bank.example?x=1"] {
        let error = Http::new(wrong, Duration::from_secs(1)).err().unwrap();
        assert!(error.to_string().contains("PAYMENT_GATEWAY_URL=http://"), "{error}");
    }
}

fn request() -> Request {
    Request {
        order_id: Uuid::from_u128(7),
        key: Uuid::from_u128(1),
        method: PaymentMethod::Pix,
        amount: Money::cents(4990),
        attempt: 1,
        trace: Some("00-0000000000000000000000000000000a-000000000000000b-01".into()),
    }
}

/// A provider that answers one request with these bytes, and tells what it was asked.
async fn asked_of(answer: &'static str) -> (Verdict, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let provider = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            connection.read_buf(&mut heard).await.unwrap();
        }
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(heard).unwrap()
    });
    let verdict = Http::new(&url, Duration::from_secs(4)).unwrap().charge(&request()).await;
    (verdict, provider.await.unwrap())
}

#[tokio::test]
async fn a_charge_is_sent_with_its_key_and_its_trace() {
    let (verdict, heard) = asked_of(
        "HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 19\r\n\r\n{\"reason\":\"asleep\"}",
    )
    .await;
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(verdict, Verdict::Unavailable { reason: "503: asleep".into(), retry_after });
    for line in [
        "POST /charge HTTP/1.1",
        "idempotency-key: 00000000-0000-0000-0000-000000000001",
        "traceparent: 00-0000000000000000000000000000000a-000000000000000b-01",
        r#""amount":49.90"#,
        r#""payment_method":"pix""#,
        r#""order_id":"00000000-0000-0000-0000-000000000007""#,
    ] {
        assert!(heard.contains(line), "{line}: {heard}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_says_nothing_but_one_that_was_never_made_does() {
    for half in ["", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"status\":"] {
        let (verdict, _) = asked_of(half).await;
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Http::new(&format!("http://{nobody}"), Duration::from_secs(4)).unwrap();
    let verdict = gateway.charge(&request()).await;
    assert!(matches!(verdict, Verdict::Unavailable { .. }), "{verdict:?}");
}
