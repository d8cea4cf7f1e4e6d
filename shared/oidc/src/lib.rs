#![doc = include_str!("../README.md")]

mod issuer;
mod keys;
mod verifier;

use jsonwebtoken::errors::{Error, ErrorKind};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use issuer::{Config, Issuer, STALE_AFTER};

/// A token that its issuer has signed, for this audience, and that is valid now.
#[derive(Debug)]
pub struct Verified {
    pub claims: Map<String, Value>,
    /// How long it is valid from now on.
    pub lifetime: Duration,
    /// Cancelled when the issuer withdraws the key that has signed it.
    pub withdrawn: CancellationToken,
}

/// Why a token opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A sentence about it.
    Invalid(String),
    /// Its key is not known, and the issuer cannot be asked.
    Unreachable,
}

impl Verified {
    /// The value of the claim with this name; `/a/b` is a claim within another.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        let mut names = name.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
        let claim = self.claims.get(names.next().unwrap_or(name))?;
        names.try_fold(claim, |claim, name| claim.get(name))
    }
}

impl Refusal {
    fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }
}

impl From<Error> for Refusal {
    fn from(why: Error) -> Self {
        Self::Invalid(match why.kind() {
            ErrorKind::ExpiredSignature => "it has expired".into(),
            ErrorKind::ImmatureSignature => "it is not valid yet".into(),
            ErrorKind::InvalidAudience => "it is for another audience".into(),
            ErrorKind::InvalidIssuer => "it is of another issuer".into(),
            ErrorKind::MissingRequiredClaim(claim) => format!("it has no valid claim {claim}"),
            ErrorKind::InvalidClaimFormat(claim) => format!("its claim {claim} is malformed"),
            ErrorKind::InvalidSignature => "its signature is wrong".into(),
            _ => "it is not a JWT that is signed by an algorithm with a public key".into(),
        })
    }
}
