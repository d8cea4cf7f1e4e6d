use super::*;
use crate::verifier;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

/// Of RFC 7515, appendix A.2: its key and its signature.
const RSA: &str = concat!(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d",
    "4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexM",
    "dbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvU",
    "K-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
);
const MESSAGE: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv",
    "bS9pc19yb290Ijp0cnVlfQ",
);
const SIGNATURE: &str = concat!(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j",
    "ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L",
    "07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEU",
    "ipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);

fn rsa(kid: &str) -> Value {
    json!({ "kty": "RSA", "kid": kid, "n": RSA, "e": "AQAB" })
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into()
}

fn signed_by(alg: &str, kid: Option<&str>) -> Result<Header, Refusal> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "alg": alg, "kid": kid }));
    super::header(&format!("{header}.{}.", part(&json!({}))))
}

#[test]
fn the_signature_of_the_standard_is_verified_and_no_other_is() {
    verifier::install();
    let keys = next(&[], &set(&[rsa("a")])).unwrap();
    let verify = |message: &str, signature: &str, algorithm| {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &keys[0].key, algorithm)
    };
    assert!(verify(MESSAGE, SIGNATURE, Algorithm::RS256).unwrap());
    assert!(!verify(&MESSAGE[1..], SIGNATURE, Algorithm::RS256).unwrap());
    assert!(!verify(MESSAGE, SIGNATURE, Algorithm::PS256).unwrap());
    assert!(!verify(MESSAGE, SIGNATURE, Algorithm::ES256).unwrap());
    assert!(verify(MESSAGE, SIGNATURE, Algorithm::HS256).is_err());
}

#[test]
fn an_algorithm_with_a_shared_secret_or_none_is_refused_before_any_key_is_looked_for() {
    for alg in ["none", "None", "HS256", "HS384", "HS512", "RS1", ""] {
        assert!(matches!(signed_by(alg, Some("a")), Err(Refusal::Invalid(_))), "{alg}");
    }
    for alg in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        assert!(signed_by(alg, None).is_ok(), "{alg}");
    }
}

#[test]
fn a_key_fits_by_its_name_and_kind_or_because_it_is_the_only_one() {
    let curve = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "a",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let keys = next(&[], &set(&[rsa("a"), rsa("b"), curve])).unwrap();
    let found = |alg, kid| find(&keys, &signed_by(alg, kid).unwrap());
    assert_eq!(found("RS256", Some("b")).unwrap().published, keys[1].published);
    assert_eq!(found("EdDSA", Some("a")).unwrap().published, keys[2].published);
    assert!(found("EdDSA", None).is_some());
    for (alg, kid) in [("RS256", None), ("RS256", Some("c")), ("ES256", Some("a"))] {
        assert!(found(alg, kid).is_none(), "{alg} {kid:?}");
    }
}

#[test]
fn keys_of_other_kinds_and_uses_are_left_out_of_a_set() {
    let with = |name: &str, value: &str| {
        let mut key = rsa("x");
        key[name] = value.into();
        key
    };
    let secret = json!({ "kty": "oct", "kid": "x", "k": "c2VjcmV0" });
    let curve = json!({ "kty": "EC", "crv": "secp256k1", "kid": "x", "x": "AA", "y": "AA" });
    let others = [
        secret,
        curve,
        with("use", "enc"),
        with("alg", "RSA-OAEP"),
        with("alg", "HS256"),
        with("n", "%"),
        json!({ "kty": 7 }),
        json!("key"),
    ];
    for other in others {
        assert!(next(&[], &set(std::slice::from_ref(&other))).is_err(), "{other}");
        assert_eq!(next(&[], &set(&[other, rsa("a")])).unwrap().len(), 1);
    }
    let only = next(&[], &set(&[with("alg", "RS256")])).unwrap();
    assert_eq!(only[0].algorithms, [Algorithm::RS256]);
    assert!(next(&[], b"<html>").is_err());
}

#[test]
fn a_key_that_is_not_published_any_more_is_withdrawn() {
    let last = next(&[], &set(&[rsa("a"), rsa("b")])).unwrap();
    let keys = next(&last, &set(&[rsa("b")])).unwrap();
    assert!(Arc::ptr_eq(&keys[0], &last[1]));
    let withdrawn = [&last[0], &last[1]].map(|key| key.withdrawn.is_cancelled());
    assert_eq!(withdrawn, [true, false]);
    assert!(next(&keys, b"{}").is_err());
    assert!(!keys[0].withdrawn.is_cancelled(), "an answer that is no set withdraws nothing");
}
