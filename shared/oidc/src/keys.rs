//! Reads the keys of an issuer (JWKS), and finds the one that a token names.

use crate::Refusal;
use anyhow::Context;
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Those with a public key: a secret of the others would let the service itself sign.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

#[derive(Debug)]
pub struct SigningKey {
    /// As the issuer publishes it.
    published: Jwk,
    pub key: DecodingKey,
    /// What it may sign by; all of one family.
    pub algorithms: Vec<Algorithm>,
    pub withdrawn: CancellationToken,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// Keys that are in `last` too stay the same, so that their streams go on; the others of it are
/// withdrawn.
pub fn next(last: &[Arc<SigningKey>], body: &[u8]) -> anyhow::Result<Vec<Arc<SigningKey>>> {
    let Published { keys } = serde_json::from_slice(body).context("it is no set of keys (JWKS)")?;
    let published = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    let keys: Vec<Arc<SigningKey>> = published
        .filter_map(|jwk: Jwk| {
            let known = last.iter().find(|known| known.published == jwk).cloned();
            known.or_else(|| SigningKey::of(jwk).map(Arc::new))
        })
        .collect();
    anyhow::ensure!(!keys.is_empty(), "it has no key for {ALGORITHMS:?}");
    for key in last {
        if !keys.iter().any(|kept| Arc::ptr_eq(kept, key)) {
            key.withdrawn.cancel();
        }
    }
    Ok(keys)
}

/// The one key that fits: by its name, or because it is the only one.
pub fn find(keys: &[Arc<SigningKey>], header: &Header) -> Option<Arc<SigningKey>> {
    let fits = |key: &&Arc<SigningKey>| {
        let is_named = header.kid.is_none() || key.published.common.key_id == header.kid;
        is_named && key.algorithms.contains(&header.alg)
    };
    let mut fitting = keys.iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none()).cloned()
}

/// Refuses what no key of any issuer makes valid.
pub fn header(token: &str) -> Result<Header, Refusal> {
    let header = jsonwebtoken::decode_header(token)?;
    if ALGORITHMS.contains(&header.alg) {
        return Ok(header);
    }
    Err(Refusal::invalid(format!("its algorithm is none of {ALGORITHMS:?}")))
}

impl SigningKey {
    /// None for a key of another kind, or for another use.
    fn of(published: Jwk) -> Option<Self> {
        let fit: &[Algorithm] = match &published.algorithm {
            AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            _ => return None,
        };
        if !matches!(published.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let only = published.common.key_algorithm;
        let may = |it: &Algorithm| only.is_none_or(|only| only == KeyAlgorithm::from(*it));
        let algorithms: Vec<_> = fit.iter().copied().filter(may).collect();
        let key = DecodingKey::from_jwk(&published).ok().filter(|_| !algorithms.is_empty())?;
        Some(Self { published, key, algorithms, withdrawn: CancellationToken::new() })
    }
}

#[cfg(test)]
mod tests;
