//! Proves to the provider who calls: by a bearer token, or by a signature of each call. Either
//! comes from a file that is read for each call, so that it can be changed while payment runs.
//!
//! A signed call has the header
//! `Payment-Signature: t=<seconds since 1970>,key=<key id>,hmac-sha256=<hex>`. Its last part is the
//! HMAC-SHA256, by the key, of five lines joined by `\n`: method, path, idempotency key (empty
//! where there is none), `t`, and the body. A provider refuses a `t` that is minutes away from its
//! clock.

use anyhow::{Context, ensure};
use hmac::{Hmac, KeyInit, Mac};
use http_client::hyper::{
    Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use secret::Secret;
use sha2::Sha256;
use std::{fmt::Write, path::Path, sync::Arc};

const SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");

#[derive(Clone, Debug, Default)]
pub struct Credentials(Option<(Kind, Secret)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    HmacKey,
}

/// The credentials as they are at this moment.
#[derive(PartialEq, Eq)]
pub struct Reading(Option<(Kind, Arc<str>)>);

/// What is signed of a call.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// Empty if it has none.
    pub key: &'a str,
    pub body: &'a [u8],
}

impl Credentials {
    pub fn of(token_file: Option<&Path>, hmac_key_file: Option<&Path>) -> anyhow::Result<Self> {
        let secret = |kind: Kind, file: Option<&Path>| -> anyhow::Result<_> {
            Ok(Secret::of(kind.name(), None, file)?.map(|secret| (kind, secret)))
        };
        let token = secret(Kind::Token, token_file)?;
        let hmac_key = secret(Kind::HmacKey, hmac_key_file)?;
        ensure!(
            token.is_none() || hmac_key.is_none(),
            "PAYMENT_GATEWAY_TOKEN_FILE and PAYMENT_GATEWAY_HMAC_KEY_FILE are both set: unset the \
             one that the provider does not ask for"
        );
        let this = Self(token.or(hmac_key));
        let nothing = Signed { method: &Method::GET, path: "/", key: "", body: b"" };
        this.read().header(nothing, 0)?;
        Ok(this)
    }

    pub const fn are_none(&self) -> bool {
        self.0.is_none()
    }

    pub fn read(&self) -> Reading {
        Reading(self.0.as_ref().map(|(kind, secret)| (*kind, secret.read())))
    }

    /// The setting to be checked if the provider refuses them.
    pub fn setting(&self) -> String {
        let named = self.0.as_ref().map(|(kind, _)| format!("check {}_FILE", kind.name()));
        let other = || "set PAYMENT_GATEWAY_TOKEN_FILE or PAYMENT_GATEWAY_HMAC_KEY_FILE".into();
        named.unwrap_or_else(other)
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Token => "PAYMENT_GATEWAY_TOKEN",
            Self::HmacKey => "PAYMENT_GATEWAY_HMAC_KEY",
        }
    }
}

impl Reading {
    /// `None` without credentials.
    pub fn header(
        &self,
        call: Signed<'_>,
        seconds: i64,
    ) -> anyhow::Result<Option<(HeaderName, HeaderValue)>> {
        let Some((kind, text)) = &self.0 else { return Ok(None) };
        let file = format!("{}_FILE", kind.name());
        let (name, value) = match kind {
            Kind::Token => (AUTHORIZATION, format!("Bearer {text}")),
            Kind::HmacKey => {
                let (id, key) = text
                    .split_once(':')
                    .filter(|(id, key)| !id.is_empty() && !id.contains(',') && !key.is_empty())
                    .with_context(|| format!("{file} must hold <key id>:<key>"))?;
                let signature = signature(key.as_bytes(), call, seconds);
                (SIGNATURE, format!("t={seconds},key={id},hmac-sha256={signature}"))
            }
        };
        let mut value = HeaderValue::from_str(&value)
            .ok()
            .with_context(|| format!("{file} must hold one line of printable characters"))?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

fn signature(key: &[u8], call: Signed<'_>, seconds: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    let Signed { method, path, key, body } = call;
    mac.update(format!("{method}\n{path}\n{key}\n{seconds}\n").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
