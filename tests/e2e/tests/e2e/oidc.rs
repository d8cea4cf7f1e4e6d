//! Tokens of an OpenID Connect issuer that the test runs: what they open, and which are refused.

use e2e::{BOUND, Fleet, Issuer, PLENTY, TokenKey, free_address, order, token, until};
use messaging::{Env, SystemEnv};
use reqwest::Response;
use ring::hmac;
use serde_json::{Value, json};
use std::time::Instant;

const AUDIENCE: &str = "orders";
/// A second order service, which fetches the keys again within a second.
const QUICK: &str = "order-2";

struct Bench {
    fleet: Fleet,
    issuer: Issuer,
    quick_url: String,
}

impl Bench {
    async fn start(keys: &[&TokenKey]) -> Self {
        let issuer = Issuer::start(keys).await;
        let ca_file = issuer.ca_file.display().to_string();
        let settings = [
            ("API_KEYS", "required"),
            ("OIDC_ISSUER", issuer.url.as_str()),
            ("OIDC_AUDIENCE", AUDIENCE),
            ("OIDC_CA_FILE", ca_file.as_str()),
            ("OIDC_CLIENT_CLAIM", "/org/id"),
            ("OIDC_ROLE_CLAIM", "roles"),
            ("OIDC_ROLES", "client=orders,operator=admin"),
            ("OIDC_REFRESH", "1h"),
        ];
        let mut fleet = Fleet::prepare(&settings).await;
        let address = free_address();
        fleet.spawn("order");
        fleet.spawn_as("order", QUICK, &[("HTTP_ADDR", &address), ("OIDC_REFRESH", "1s")]);
        fleet.ready().await;
        Self { fleet, issuer, quick_url: format!("http://{address}") }
    }

    fn claims(&self, client: &str, roles: &[&str]) -> Value {
        let now_s = SystemEnv.now().timestamp();
        json!({
            "iss": self.issuer.url, "aud": [AUDIENCE, "another"], "sub": format!("user|{client}"),
            "exp": now_s + 600, "nbf": now_s, "org": { "id": client }, "roles": roles,
        })
    }

    async fn get(&self, token: &str, path: &str) -> Response {
        let url = format!("{}{path}", self.fleet.order_url);
        self.fleet.http.get(url).bearer_auth(token).send().await.unwrap()
    }

    /// The type and the detail of the problem.
    async fn refused(&self, status: u16, token: &str) -> String {
        let answer = self.get(token, "/orders").await;
        assert_eq!(answer.status(), status);
        let challenge = answer.headers().get("www-authenticate").cloned();
        assert_eq!(challenge.is_some(), status == 401);
        let problem: Value = answer.json().await.unwrap();
        let (kind, detail) = (problem["type"].as_str().unwrap(), &problem["detail"]);
        format!("{}: {}", kind.rsplit(':').next().unwrap(), detail.as_str().unwrap())
    }

    /// Waits until one of the two answers this token with this status.
    async fn soon(&self, url: &str, token: &str, status: u16) {
        until(|| async {
            let request = self.fleet.http.get(format!("{url}/orders")).bearer_auth(token);
            let answer = request.send().await.unwrap().status();
            if answer == status { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }

    async fn place(&self, token: &str) -> String {
        let url = format!("{}/orders", self.fleet.order_url);
        let request = self.fleet.http.post(url).bearer_auth(token).json(&order("pix", PLENTY, 1));
        let placed: Value = request.send().await.unwrap().json().await.unwrap();
        placed["order_id"].as_str().unwrap().into()
    }
}

#[tokio::test]
async fn a_token_opens_what_its_claims_name_and_a_forged_one_opens_nothing() {
    let keys = [TokenKey::rsa("r"), TokenKey::curve("c"), TokenKey::edwards("e")];
    let bench = Bench::start(&keys.each_ref()).await;
    let key = &keys[1];
    let good = key.sign(&bench.claims("shop", &["orders"]));
    let own = bench.place(&good).await;
    for key in &keys {
        let token = key.sign(&bench.claims("shop", &["orders"]));
        assert_eq!(bench.get(&token, &format!("/orders/{own}")).await.status(), 200);
    }
    let rival = key.sign(&bench.claims("rival", &["orders"]));
    assert_eq!(bench.get(&rival, &format!("/orders/{own}")).await.status(), 404);
    assert_eq!(bench.get(&good, "/metrics").await.status(), 403);
    let operator = key.sign(&bench.claims("anna", &["profile", "admin"]));
    assert_eq!(bench.get(&operator, "/metrics").await.status(), 200);
    let url = format!("{}/orders/{own}/cancel?reason=fraud", bench.fleet.order_url);
    let cancelled = bench.fleet.http.post(url).bearer_auth(&operator).send().await.unwrap();
    assert_eq!(cancelled.status(), 202);
    let acts = "SELECT who, key_id, reason FROM acts";
    let acts: Vec<(String, Option<String>, Option<String>)> =
        sqlx::query_as(acts).fetch_all(&bench.fleet.pool("order").await).await.unwrap();
    assert_eq!(acts, [("user|anna".into(), None, Some("fraud".into()))]);

    let with = |change: Value| {
        let mut claims = bench.claims("shop", &["orders"]);
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        key.sign(&claims)
    };
    let now_s = SystemEnv.now().timestamp();
    let (long_ago, later) = (now_s - 100, now_s + 100);
    for (change, told) in [
        (json!({ "exp": long_ago }), "it has expired"),
        (json!({ "exp": null }), "no valid claim exp"),
        (json!({ "nbf": later }), "not valid yet"),
        (json!({ "aud": "another" }), "another audience"),
        (json!({ "aud": null }), "no valid claim aud"),
        (json!({ "iss": "https://evil.example" }), "another issuer"),
        (json!({ "sub": "a\nb" }), "its claim sub is no name"),
        (json!({ "org": {} }), "its claim /org/id is no name"),
    ] {
        let said = bench.refused(401, &with(change)).await;
        assert!(said.starts_with("token-invalid: ") && said.contains(told), "{said}");
    }
    let said = bench.refused(403, &with(json!({ "roles": ["adm"] }))).await;
    assert!(said.starts_with("role-missing: "), "{said}");
    // The leeway.
    let just_now = with(json!({ "exp": now_s - 5, "nbf": now_s + 5 }));
    assert_eq!(bench.get(&just_now, "/orders").await.status(), 200);

    let claims = bench.claims("shop", &["admin"]);
    let header = |alg: &str| json!({ "alg": alg, "kid": "r" });
    let none = |_: &[u8]| Vec::new();
    let public = keys[0].public();
    for secret in [public.to_string(), public["n"].as_str().unwrap().to_owned()] {
        let by_public_key = |message: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::sign(&key, message).as_ref().to_vec()
        };
        bench.refused(401, &token(&header("HS256"), &claims, by_public_key)).await;
    }
    bench.refused(401, &token(&header("none"), &claims, none)).await;
    bench.refused(401, &token(&header("RS256"), &claims, none)).await;
    // Signed by another's key under the name of one of ours, or with its own key in the header.
    let forger = TokenKey::curve("c");
    bench.refused(401, &forger.sign(&claims)).await;
    let (signed, by) = (key.sign(&claims), key.sign(&bench.claims("shop", &["orders"])));
    let signature = by.rsplit('.').next().unwrap();
    let mixed = format!("{}.{signature}", signed.rsplit_once('.').unwrap().0);
    bench.refused(401, &mixed).await;
    let critical = json!({ "alg": "ES256", "kid": "c", "crit": ["x"], "x": 1 });
    bench.refused(401, &token(&critical, &claims, none)).await;
    bench.fleet.close().await;
}

#[tokio::test]
async fn a_rotated_key_is_found_a_withdrawn_one_ends_and_an_issuer_that_is_down_ends_none() {
    let (old, new, never) = (TokenKey::curve("1"), TokenKey::curve("2"), TokenKey::curve("3"));
    let bench = Bench::start(&[&old]).await;
    let (slow, quick) = (bench.fleet.order_url.clone(), bench.quick_url.clone());
    let sign = |key: &TokenKey| key.sign(&bench.claims("shop", &["orders"]));
    let (by_old, by_new, unknown) = (sign(&old), sign(&new), sign(&never));
    bench.soon(&slow, &by_old, 200).await;
    bench.soon(&quick, &by_old, 200).await;
    assert_eq!(bench.get(&by_new, "/orders").await.status(), 401);

    // An unknown key is asked for, and a flood of them is not passed on to the issuer.
    bench.issuer.publish(&[&old, &new]);
    bench.soon(&slow, &by_new, 200).await;
    let (began, before) = (Instant::now(), bench.issuer.asked());
    for _ in 0..100 {
        assert_eq!(bench.get(&unknown, "/orders").await.status(), 401);
    }
    // The other copy asks once a second.
    let asked = bench.issuer.asked() - before;
    let may = 20 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(asked < may, "the issuer is asked {asked} times");

    bench.issuer.is_down(true);
    bench.soon(&quick, &unknown, 503).await;
    for url in [&slow, &quick] {
        bench.soon(url, &by_old, 200).await;
        bench.soon(url, &by_new, 200).await;
    }
    until(|| async {
        let said = bench.fleet.process(QUICK).log();
        if said.contains("the keys of OIDC_ISSUER cannot be fetched") { Ok(()) } else { Err(said) }
    })
    .await;

    bench.issuer.is_down(false);
    bench.soon(&quick, &unknown, 401).await;
    let stream = bench.fleet.http.get(format!("{quick}/orders/events")).bearer_auth(&by_old);
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    bench.issuer.publish(&[&new]);
    bench.soon(&quick, &by_old, 401).await;
    bench.soon(&quick, &by_new, 200).await;
    // Its stream ends with it.
    tokio::time::timeout(BOUND, stream.bytes()).await.unwrap().unwrap();
    bench.fleet.close().await;
}
