use super::*;
use events::{Money, PaymentMethod};
use http_client::BODY_MAX;
use proptest::{prelude::*, test_runner::TestRunner};
use std::future::pending;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Runtime,
};

#[test]
fn an_address_that_cannot_be_is_named_with_an_example() {
    for wrong in ["", "nowhere", "ftp://bank.example", "http://bank.example?x=1"] {
        let error = http(wrong, Duration::from_secs(1)).err().unwrap();
        assert!(error.to_string().contains("PAYMENT_GATEWAY_URL=http://"), "{error}");
    }
}

fn http(url: &str, timeout: Duration) -> anyhow::Result<Http> {
    Http::new(url, timeout, None, Credentials::default())
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

/// A provider that answers one charge with these bytes, and returns the request.
async fn asked_of(answer: &[u8]) -> (Verdict, String) {
    ask_for(request(), answer).await
}

async fn ask_for(request: Request, answer: &[u8]) -> (Verdict, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer = answer.to_vec();
    let provider = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            connection.read_buf(&mut heard).await.unwrap();
        }
        // One that has seen enough hangs up.
        let _ = connection.write_all(&answer).await;
        String::from_utf8(heard).unwrap()
    });
    let verdict = http(&url, Duration::from_secs(60)).unwrap().charge(&request).await;
    (verdict, provider.await.unwrap())
}

#[tokio::test]
async fn a_charge_is_sent_with_its_key_and_its_trace() {
    let (verdict, heard) = asked_of(
        b"HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 19\r\n\r\n{\"reason\":\"asleep\"}",
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
async fn a_trace_that_is_no_header_holds_up_no_charge() {
    let untraceable = Request { trace: Some("a\0b\r\n".into()), ..request() };
    let (verdict, heard) = ask_for(untraceable, b"HTTP/1.1 204 x\r\n\r\n").await;
    assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    assert!(!heard.contains("traceparent"), "{heard}");
}

#[tokio::test]
async fn a_connection_that_breaks_says_nothing_but_one_that_was_never_made_does() {
    for half in ["", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"status\":"] {
        let (verdict, _) = asked_of(half.as_bytes()).await;
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    }
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = http(&format!("http://{absent}"), Duration::from_secs(4)).unwrap();
    let verdict = gateway.charge(&request()).await;
    assert!(matches!(verdict, Verdict::Unsent { .. }), "{verdict:?}");
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = elsewhere.local_addr().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} x\r\nlocation: http://{there}/charge\r\ncontent-length: 0\r\n\r\n"
        );
        let (verdict, _) = asked_of(answer.as_bytes()).await;
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{status}: {verdict:?}");
    }
    assert!(elsewhere.accept().is_err(), "it was followed");
}

#[tokio::test]
async fn a_body_without_an_end_is_left_where_it_is_too_long() {
    let said = br#"{"status":"approved","reference":"R"}"#;
    for (blanks, is_read) in [(BODY_MAX - said.len(), true), (BODY_MAX, false), (1 << 24, false)] {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", blanks + said.len())
                .into_bytes();
        answer.resize(answer.len() + blanks, b' ');
        answer.extend(said);
        let (verdict, _) = asked_of(&answer).await;
        assert_eq!(matches!(verdict, Verdict::Done { .. }), is_read, "{verdict:?}");
        assert!(is_read || matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn the_deadline_holds_for_the_body_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_buf(&mut Vec::new()).await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{").await.unwrap();
        pending::<()>().await;
    });
    let verdict = http(&url, Duration::from_secs(5)).unwrap().charge(&request()).await;
    let reason = "200, and the body broke off: operation timed out".into();
    assert_eq!(verdict, Verdict::Unknown { reason });
}

#[tokio::test]
async fn an_approval_of_another_amount_or_order_is_not_believed() {
    let answer = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let body = |order: u128, amount: &str| {
        let order = Uuid::from_u128(order);
        let said = r#"{"status":"approved","reference":"R""#;
        format!(r#"{said},"order_id":"{order}","amount":{amount}}}"#)
    };
    let (right, _) = asked_of(&answer(&body(7, "49.90"))).await;
    assert_eq!(right, Verdict::Done { reference: "R".into() });
    for (order, amount) in [(7, "49.91"), (7, "4990"), (8, "49.90")] {
        let (verdict, _) = asked_of(&answer(&body(order, amount))).await;
        assert!(matches!(verdict, Verdict::Unknown { .. }), "{order} {amount}: {verdict:?}");
    }
}

/// A provider that accepts only this header's line, and counts its calls.
async fn guarded(line: &'static str, calls: usize) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let provider = tokio::spawn(async move {
        for _ in 0..calls {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"}") {
                connection.read_buf(&mut heard).await.unwrap();
            }
            let is_let_in = String::from_utf8(heard).unwrap().contains(line);
            let answer = match is_let_in {
                true => {
                    "200 OK\r\nconnection: close\r\ncontent-length: 37\r\n\r\n\
                         {\"status\":\"approved\",\"reference\":\"R\"}"
                }
                false => "401 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            };
            let answer = format!("HTTP/1.1 {answer}");
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, provider)
}

#[tokio::test]
async fn refused_credentials_are_no_answer_and_new_ones_are_tried_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let (url, provider) = guarded("authorization: Bearer new\r\n", 3).await;
    let credentials = || Credentials::of(Some(file.path()), None).unwrap();
    let gateway = Http::new(&url, Duration::from_secs(4), None, credentials()).unwrap();
    let verdict = gateway.charge(&request()).await;
    let reason = "401:  (check PAYMENT_GATEWAY_TOKEN_FILE)".into();
    assert_eq!(verdict, Verdict::Unauthorised { reason });
    // The file changes while the call is on its way.
    let used = gateway.credentials.read();
    std::fs::write(file.path(), "new").unwrap();
    let body = json!({"order_id": request().order_id});
    let about = request();
    let call = Call::post(Asked::Charge, "/charge", &about, &body);
    let done = Verdict::Done { reference: "R".into() };
    assert_eq!(gateway.ask_from(used, call).await, done);
    provider.await.unwrap();
}

/// The refusal may be a proxy's word after the provider has charged: a second call that is not
/// even sent does not settle that.
#[tokio::test]
async fn a_refused_charge_stays_in_doubt_when_the_new_credentials_cannot_be_sent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let (url, provider) = guarded("authorization: Bearer new\r\n", 1).await;
    let credentials = Credentials::of(Some(file.path()), None).unwrap();
    let gateway = Http::new(&url, Duration::from_secs(4), None, credentials).unwrap();
    let used = gateway.credentials.read();
    std::fs::write(file.path(), "new").unwrap();
    let body = json!({"order_id": request().order_id});
    let about = request();
    let call = Call::post(Asked::Charge, "/charge", &about, &body);
    let verdict = gateway.ask_from(used, call).await;
    assert!(matches!(verdict, Verdict::Unauthorised { .. }), "{verdict:?}");
    provider.await.unwrap();
}

/// Bytes as they may come: garbage, and answers with one thing wrong.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let garbage = prop::collection::vec(any::<u8>(), 0..300);
    let nearly = (
        prop_oneof![100..600_u16, Just(200), Just(422)],
        prop_oneof!["[a-z-]{1,12}: [ -~]{0,40}", "retry-after: [0-9]{1,30}", "[ -~]{0,20}"],
        prop_oneof![Just(None), (0..300_usize).prop_map(Some)],
        prop_oneof!["\\{\"status\":\"(approved|declined|pending)\"\\}", ".{0,80}"],
    );
    let nearly = nearly.prop_map(|(status, header, length, body)| {
        let length = length.unwrap_or(body.len());
        format!("HTTP/1.1 {status} x\r\n{header}\r\ncontent-length: {length}\r\n\r\n{body}").into()
    });
    prop_oneof![1 => garbage, 3 => nearly]
}

/// No panic and no wait; never more than the documented statuses, never "nothing was sent".
#[test]
fn fuzz_any_bytes_are_read_safely() {
    let runtime = Runtime::new().unwrap();
    let usual = ProptestConfig::default();
    // Each takes a connection: a quarter of what a pure property gets.
    let config = ProptestConfig { cases: usual.cases / 4, failure_persistence: None, ..usual };
    let asked = TestRunner::new(config).run(&any_bytes(), |bytes| {
        let (verdict, _) = runtime.block_on(asked_of(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        let documented = match verdict {
            Verdict::Done { .. } => text.contains(" 200 ") && text.contains("approved"),
            Verdict::Declined { .. } => text.contains(" 422 "),
            Verdict::Voided | Verdict::NotCharged | Verdict::Unsent { .. } => false,
            _ => true,
        };
        prop_assert!(documented, "{verdict:?}");
        Ok(())
    });
    asked.unwrap();
}
