//! API keys and tokens: their form, their roles, and who they speak for.

mod ring;
mod tokens;

use messaging::Env;
use ring::KeyRing;
use service::Context;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use tokens::Tokens;
use tokio_util::sync::CancellationToken;

pub use ring::{LABELS_MAX, LOOK_EVERY, STALE_AFTER};
pub use tokens::TokenSettings;

/// Scanners for leaked secrets find it by this.
const PREFIX: &str = "qk";
const ID_DIGITS: usize = 16;
/// 256 bits.
const SECRET_DIGITS: usize = 64;
/// Of a client's name, in bytes.
const NAME_MAX: usize = 63;

/// Whether requests need a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ApiKeys {
    #[default]
    Off,
    Required,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Places orders; sees and cancels its own
    #[default]
    Client,
    /// Sees all orders, the live page and the metrics
    Viewer,
    /// Does all of that, for all orders, and acts on dead letters
    Operator,
}

/// A key as its client sends it: `qk_<id>_<secret>`. It has no `Debug`.
pub struct ApiKey {
    id: String,
    secret: String,
}

/// What a request shows. It has no `Debug`.
pub enum Credential {
    Key(ApiKey),
    /// A JWT, not verified yet.
    Token(String),
}

/// Who a valid key or token speaks for.
#[derive(Debug)]
pub struct Identity {
    pub client: Arc<str>,
    pub role: Role,
    /// Who acts: the key's client, or the token's subject.
    pub who: Arc<str>,
    /// None for a token.
    pub key_id: Option<String>,
    /// Of the whole key or token.
    pub digest: [u8; 32],
    /// The client's name in the metrics.
    pub label: Arc<str>,
    /// Of a token, from its check on.
    pub lifetime: Option<Duration>,
    /// Cancelled when the key, or the issuer's that has signed the token, is revoked.
    pub revoked: CancellationToken,
}

/// All that opens something; or nothing is needed.
#[derive(Clone, Default)]
pub struct Keys(Option<Arc<Required>>);

struct Required {
    ring: KeyRing,
    tokens: Option<Tokens>,
}

/// Why a key or a token does not open anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    Unknown,
    /// The database has not told for too long which keys are valid.
    Stale,
    Token(oidc::Refusal),
    /// The token is valid, and names no role of ours.
    NoRole,
}

impl Keys {
    pub fn required(tokens: Option<Tokens>) -> Self {
        Self(Some(Arc::new(Required { ring: KeyRing::default(), tokens })))
    }

    pub const fn are_required(&self) -> bool {
        self.0.is_some()
    }

    pub async fn check(&self, given: &Credential) -> Result<Arc<Identity>, Invalid> {
        let required = self.0.as_ref().ok_or(Invalid::Unknown)?;
        match (given, &required.tokens) {
            (Credential::Key(key), _) => required.ring.check(key).await,
            (Credential::Token(token), Some(tokens)) => tokens.check(token).await,
            (Credential::Token(_), None) => Err(Invalid::Unknown),
        }
    }

    /// Looks for new and revoked keys until the service stops.
    pub async fn run(self, context: Context) {
        let Some(required) = self.0 else { return };
        let issuer = required.tokens.as_ref().map(|tokens| tokens.issuer.clone());
        let looking = async {
            if let Some(issuer) = issuer {
                issuer.run(context.stop.clone()).await;
            }
        };
        tokio::join!(required.ring.run(&context), looking);
    }
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Client, Self::Viewer, Self::Operator];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    pub const fn sees_all(self) -> bool {
        matches!(self, Self::Viewer | Self::Operator)
    }

    pub const fn places(self) -> bool {
        matches!(self, Self::Client | Self::Operator)
    }

    pub const fn operates(self) -> bool {
        matches!(self, Self::Operator)
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| format!("{text:?} is no role"))
    }
}

impl ApiKey {
    pub fn new(env: &dyn Env) -> Self {
        let digits = |count| (0..count).map(|_| format!("{:016x}", env.random())).collect();
        Self { id: digits(ID_DIGITS / 16), secret: digits(SECRET_DIGITS / 16) }
    }

    /// It is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is stored. A key has too many bits to be guessed, so that one fast hash is enough.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }
}

impl FromStr for ApiKey {
    type Err = &'static str;

    /// The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('_').collect();
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        };
        match parts[..] {
            [PREFIX, id, secret] if is_hex(id, ID_DIGITS) && is_hex(secret, SECRET_DIGITS) => {
                Ok(Self { id: id.into(), secret: secret.into() })
            }
            _ => Err("it is not a key as `saga keys create` prints it: qk_<id>_<secret>"),
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}_{}_{}", self.id, self.secret)
    }
}

impl FromStr for Credential {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_token = text.split('.').count() == 3;
        Ok(if is_token { Self::Token(text.into()) } else { Self::Key(text.parse()?) })
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(out),
            Self::Token(token) => token.fmt(out),
        }
    }
}

/// A client's name stands in logs, in metrics and before its idempotency keys.
pub fn client_name(text: &str) -> Result<String, String> {
    let is_fit = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_fit) {
        return Ok(text.into());
    }
    Err(format!("a client's name has 1 to {NAME_MAX} of a-z, 0-9, '-', '_' and '.'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use messaging::SystemEnv;

    #[test]
    fn a_key_is_read_as_it_was_shown_and_nothing_else_is() {
        let key = ApiKey::new(&SystemEnv);
        let text = key.to_string();
        assert!(text.starts_with("qk_") && text.len() == 3 + 16 + 1 + 64, "{text}");
        let read: ApiKey = text.parse().unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((read.id(), read.digest()), (key.id(), key.digest()));
        let upper = text.to_uppercase();
        for wrong in ["", "qk", "qk__", &text[1..], &text[..83], &format!("{text}0"), &upper] {
            assert!(wrong.parse::<ApiKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_keys_are_alike() {
        let (one, other) = (ApiKey::new(&SystemEnv), ApiKey::new(&SystemEnv));
        assert!(one.id != other.id && one.secret != other.secret);
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn a_name_holds_nothing_that_could_end_it() {
        for good in ["a", "shop-1", "x.y_z"] {
            assert!(client_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a b", "a\n", "é", &"a".repeat(64)] {
            assert!(client_name(bad).is_err(), "{bad:?}");
        }
    }
}
