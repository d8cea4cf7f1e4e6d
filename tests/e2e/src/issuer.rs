//! An OpenID Connect issuer that the test runs: its keys, its tokens, and what it is asked.

use crate::HttpsServer;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    },
};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub struct Issuer {
    pub url: String,
    pub ca_file: PathBuf,
    state: Shared,
}

type Shared = Arc<Mutex<Published>>;

#[derive(Default)]
struct Published {
    url: String,
    keys: Vec<Value>,
    is_down: bool,
    /// How often it was asked for its document.
    asked: usize,
}

pub struct TokenKey {
    kid: &'static str,
    signer: Signer,
}

enum Signer {
    Rsa(Box<rsa::KeyPair>),
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Issuer {
    pub async fn start(keys: &[&TokenKey]) -> Self {
        let server = HttpsServer::bind().await;
        let (url, ca_file) = (server.url.clone(), server.ca_file.clone());
        let state = Shared::default();
        state.lock().expect("nobody panics with it").url.clone_from(&url);
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys_of))
            .with_state(state.clone());
        server.serve(routes);
        let issuer = Self { url, ca_file, state };
        issuer.publish(keys);
        issuer
    }

    pub fn publish(&self, keys: &[&TokenKey]) {
        self.locked().keys = keys.iter().map(|key| key.public()).collect();
    }

    pub fn is_down(&self, is_down: bool) {
        self.locked().is_down = is_down;
    }

    pub fn asked(&self) -> usize {
        self.locked().asked
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Published> {
        self.state.lock().expect("nobody panics with it")
    }
}

async fn discovery(State(state): State<Shared>) -> Result<String, StatusCode> {
    let mut state = state.lock().expect("nobody panics with it");
    state.asked += 1;
    let jwks_uri = format!("{}/keys", state.url);
    let document = json!({ "issuer": state.url, "jwks_uri": jwks_uri });
    if state.is_down { Err(StatusCode::BAD_GATEWAY) } else { Ok(document.to_string()) }
}

async fn keys_of(State(state): State<Shared>) -> String {
    let state = state.lock().expect("nobody panics with it");
    json!({ "keys": state.keys }).to_string()
}

impl TokenKey {
    /// The key of RFC 7515, appendix A.2, which everyone knows: ring makes none.
    pub fn rsa(kid: &'static str) -> Self {
        let bytes = RSA.map(|text| URL_SAFE_NO_PAD.decode(text).expect("it is base64"));
        let [n, d, p, q, d_p, d_q, q_inv] = &bytes;
        let key = rsa::KeyPair::from_components(&rsa::KeyPairComponents {
            public_key: rsa::PublicKeyComponents { n: &n[..], e: &[1, 0, 1] },
            d: &d[..],
            p: &p[..],
            q: &q[..],
            dP: &d_p[..],
            dQ: &d_q[..],
            qInv: &q_inv[..],
        });
        Self { kid, signer: Signer::Rsa(Box::new(key.expect("the standard's key is valid"))) }
    }

    pub fn curve(kid: &'static str) -> Self {
        let (random, by) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(by, &random).expect("a key is made");
        let key = EcdsaKeyPair::from_pkcs8(by, made.as_ref(), &random).expect("it is valid");
        Self { kid, signer: Signer::Curve(key) }
    }

    pub fn edwards(kid: &'static str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key is made");
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("it is valid");
        Self { kid, signer: Signer::Edwards(key) }
    }

    /// As the issuer publishes it.
    pub fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.signer {
            Signer::Rsa(_) => json!({ "kty": "RSA", "n": RSA[0], "e": "AQAB" }),
            Signer::Curve(key) => {
                // After the mark of a point that is not compressed.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Signer::Edwards(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        };
        key["kid"] = self.kid.into();
        key["use"] = "sig".into();
        key
    }

    pub fn sign(&self, claims: &Value) -> String {
        let alg = match &self.signer {
            Signer::Rsa(_) => "RS256",
            Signer::Curve(_) => "ES256",
            Signer::Edwards(_) => "EdDSA",
        };
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": self.kid });
        token(&header, claims, |message| self.signature(message))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("it signs");
                signature
            }
            Signer::Curve(key) => key.sign(&random, message).expect("it signs").as_ref().into(),
            Signer::Edwards(key) => key.sign(message).as_ref().into(),
        }
    }
}

/// A token with any header, signed by anything.
pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// n, d, p, q, dp, dq, qi
const RSA: [&str; 7] = [
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];
