//! A provider that asks who calls, by https: it is called by those who may, and its refusals are no
//! answers.

use e2e::{Fleet, PLENTY, folder, free_address, order};
use futures::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use std::{fs, path::PathBuf};

const PAUSE: (&str, &str) = ("PAYMENT_BREAKER_PAUSE", "500ms");

/// The files of an authority, and of a certificate of localhost with its key.
fn certificates() -> [String; 3] {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let folder: PathBuf = folder();
    let files = ["ca.pem", "own.pem", "key.pem"].map(|name| folder.join(name));
    for (file, pem) in files.iter().zip([authority.pem(), own.pem(), key.serialize_pem()]) {
        fs::write(file, pem).unwrap();
    }
    files.map(|file| file.display().to_string())
}

#[tokio::test]
async fn a_provider_is_called_by_https_and_only_where_its_certificate_is_known() {
    let [ca, own, key] = certificates();
    let address = free_address();
    let tls = [
        ("MOCK_GATEWAY_TLS_ADDR", &*address),
        ("MOCK_GATEWAY_TLS_CERT_FILE", &*own),
        ("MOCK_GATEWAY_TLS_KEY_FILE", &*key),
    ];
    let mut fleet = Fleet::prepare(&[("PAYMENT_GATEWAY_CA_FILE", &*ca)]).await;
    fleet = fleet.with_provider(&tls).await;
    fleet.set("PAYMENT_GATEWAY_URL", &format!("https://localhost:{}", &address[10..]));
    let mut fleet = fleet.launch().await;
    let wish = order("pix", PLENTY, 1);
    let first = fleet.place(&wish).await;
    assert_eq!(fleet.ends(first).await["status"], "CONFIRMED");
    fleet.take("payment").kill();
    let [other, ..] = certificates();
    fleet.spawn_as("payment", "trustless", &[("PAYMENT_GATEWAY_CA_FILE", &other)]);
    fleet.ready().await;
    let calls = fleet.provider().total("calls").await;
    let second = fleet.place(&wish).await;
    let why = format!("not from an authority of PAYMENT_GATEWAY_CA_FILE={other}:");
    fleet.logs("trustless", &why).await;
    assert_eq!(fleet.get(second).await["status"], "PENDING");
    assert_eq!(fleet.provider().total("calls").await, calls);
    fleet.take("trustless").kill();
    fleet.spawn("payment");
    assert_eq!(fleet.ends(second).await["status"], "CONFIRMED");
    assert_eq!(fleet.provider().total("charges").await, 2);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn charges_wait_while_the_credentials_are_refused_and_go_on_with_new_ones() {
    let file = folder().join("token");
    fs::write(&file, "stale").unwrap();
    let path = file.display().to_string();
    let fleet = Fleet::prepare(&[("PAYMENT_GATEWAY_TOKEN_FILE", &*path), PAUSE]).await;
    let fleet = fleet.with_provider(&[("MOCK_GATEWAY_TOKENS", "present")]).await;
    let mut fleet = fleet.launch().await;
    let wish = order("pix", PLENTY, 1);
    let orders = join_all((0..30).map(|_| fleet.place(&wish))).await;
    fleet.logs("payment", "the provider does not accept our credentials").await;
    fleet.logs("payment", "check PAYMENT_GATEWAY_TOKEN_FILE").await;
    fleet.logs("payment", "circuit breaker open").await;
    let cancelled = fleet.place(&wish).await;
    assert_eq!(fleet.cancel(cancelled).await, 202);
    // It probes, and finds itself refused, as long as that takes.
    let refused = fleet.provider().total("refused").await;
    fleet.provider().counts("refused", refused + 4).await;
    for order in fleet.views(&orders).await {
        assert_eq!(order["status"], "PENDING", "it waits: {order}");
    }
    assert_eq!(fleet.provider().total("calls").await, 0, "it has let nobody in");
    fs::write(&file, "present").unwrap();
    for id in &orders {
        assert_eq!(fleet.ends(*id).await["status"], "CONFIRMED");
    }
    assert_eq!(fleet.ends(cancelled).await["status"], "CANCELLED");
    assert_eq!(fleet.provider().total("charges").await, 30);
    fleet.verify().await;
    fleet.close().await;
}

#[tokio::test]
async fn calls_are_signed_and_the_key_changes_while_the_provider_knows_two() {
    let file = folder().join("key");
    fs::write(&file, "2026-01:the first key").unwrap();
    let path = file.display().to_string();
    let fleet = Fleet::prepare(&[("PAYMENT_GATEWAY_HMAC_KEY_FILE", &*path), PAUSE]).await;
    let keys = [("MOCK_GATEWAY_HMAC_KEYS", "2026-01:the first key,2026-02:the second key")];
    let mut fleet = fleet.with_provider(&keys).await.launch().await;
    let place = async |fleet: &Fleet| {
        let kept = fleet.place(&order("pix", PLENTY, 1)).await;
        let back = fleet.place(&order("pix", e2e::SOLD_OUT, 1)).await;
        assert_eq!(fleet.ends(kept).await["status"], "CONFIRMED");
        assert_eq!(fleet.ends(back).await["status"], "CANCELLED", "refunded");
    };
    place(&fleet).await;
    fs::write(&file, "2026-02:the second key").unwrap();
    place(&fleet).await;
    fleet.provider().behave(json!({"hmac_keys": ["2026-02:the second key"]})).await;
    place(&fleet).await;
    assert_eq!(fleet.provider().total("refused").await, 0);
    fleet.provider().behave(json!({"hmac_keys": ["2026-02:another key"]})).await;
    let waiting = fleet.place(&order("pix", PLENTY, 1)).await;
    fleet.logs("payment", "check PAYMENT_GATEWAY_HMAC_KEY_FILE").await;
    assert_eq!(fleet.get(waiting).await["status"], "PENDING");
    fs::write(&file, "2026-02:another key").unwrap();
    assert_eq!(fleet.ends(waiting).await["status"], "CONFIRMED");
    fleet.verify().await;
    fleet.close().await;
}
