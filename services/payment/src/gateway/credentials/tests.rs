use super::*;
use std::fs;
use tempfile::NamedTempFile;

const CALL: Signed<'static> = Signed {
    method: &Method::POST,
    path: "/charge",
    key: "00000000-0000-0000-0000-000000000001",
    body: br#"{"amount":49.90}"#,
};

fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    file
}

fn header(credentials: &Credentials) -> (String, String) {
    let (name, value) = credentials.read().header(CALL, 1_764_400_000).unwrap().unwrap();
    assert!(value.is_sensitive());
    (name.to_string(), value.to_str().unwrap().to_owned())
}

#[test]
fn a_token_is_sent_as_the_file_has_it_now() {
    let file = file("one\n");
    let credentials = Credentials::of(Some(file.path()), None).unwrap();
    assert_eq!(header(&credentials), ("authorization".into(), "Bearer one".into()));
    let before = credentials.read();
    assert!(before == credentials.read());
    fs::write(file.path(), "two\n").unwrap();
    assert_eq!(header(&credentials), ("authorization".into(), "Bearer two".into()));
    assert!(before != credentials.read());
}

/// As openssl computes it: printf '<lines>' | openssl dgst -sha256 -hmac 'a key: of any text'
#[test]
fn a_call_is_signed_with_its_time_and_the_keys_id() {
    let file = file("2026-01:a key: of any text\n");
    let credentials = Credentials::of(None, Some(file.path())).unwrap();
    let expected = "t=1764400000,key=2026-01,hmac-sha256=2d363ca2f64f9874d8ad6a359154052c8bf637bed5b629af2cf48fff4c9a308f";
    assert_eq!(header(&credentials), ("payment-signature".into(), expected.into()));
    let reading = credentials.read();
    let signed = |call, seconds| reading.header(call, seconds).unwrap().unwrap().1;
    let first = signed(CALL, 1);
    for other in [
        Signed { method: &Method::GET, ..CALL },
        Signed { path: "/refund", ..CALL },
        Signed { key: "", ..CALL },
        Signed { body: br#"{"amount":49.91}"#, ..CALL },
    ] {
        assert_ne!(signed(other, 1), first, "{other:?}");
    }
    assert_ne!(signed(CALL, 2), first);
}

#[test]
fn what_cannot_be_sent_is_refused_at_the_start_by_its_settings_name() {
    let (token, key) = (file("one"), file("2026-01:key"));
    let both = Credentials::of(Some(token.path()), Some(key.path())).unwrap_err().to_string();
    assert!(both.contains("are both set"), "{both}");
    for wrong in ["key", ":key", "a,b:key", "2026-01:"] {
        let why = Credentials::of(None, Some(file(wrong).path())).unwrap_err().to_string();
        assert!(why.contains("PAYMENT_GATEWAY_HMAC_KEY_FILE must hold"), "{why}");
    }
    let why = Credentials::of(Some(file("two\nlines").path()), None).unwrap_err().to_string();
    assert!(why.contains("PAYMENT_GATEWAY_TOKEN_FILE must hold") && !why.contains("two"), "{why}");
    assert!(Credentials::of(None, None).unwrap().are_none());
}

#[test]
fn they_are_never_printed() {
    let credentials = Credentials::of(Some(file("hunter2").path()), None).unwrap();
    assert!(!format!("{credentials:?}").contains("hunter2"));
    let value = credentials.read().header(CALL, 0).unwrap().unwrap().1;
    assert!(!format!("{value:?}").contains("hunter2"));
}
