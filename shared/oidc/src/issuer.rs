//! Fetches the issuer's keys: at intervals, so that a withdrawn one ends, and when a token names an
//! unknown one, but never more often than every few seconds.

use crate::{
    Refusal, Verified,
    keys::{self, SigningKey},
    verifier,
};
use anyhow::{Context, ensure};
use http_client::{
    Client, Failure, Files, check_address,
    hyper::{Request, StatusCode},
};
use jsonwebtoken::{Header, TokenData, Validation, decode, get_current_timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// By how much the clocks of issuer and service may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// Keys that could not be fetched for so long are not trusted any more: one may be withdrawn.
pub const STALE_AFTER: Duration = Duration::from_hours(24);
/// Unknown keys, and an issuer that cannot be reached, are asked for no more often.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Requests that wait for a fetch; one more is asked to retry.
const WAITING_MAX: usize = 64;
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The settings; their names are in the messages.
pub struct Config<'a> {
    /// `OIDC_ISSUER`
    pub url: &'a str,
    /// `OIDC_AUDIENCE`
    pub audience: &'a str,
    /// `OIDC_CA_FILE`
    pub ca_file: Option<&'a Path>,
    /// `OIDC_REFRESH`
    pub refresh: Duration,
}

#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    url: String,
    audience: String,
    client: Client,
    refresh: Duration,
    seen: watch::Sender<Seen>,
    wanted: Notify,
    waiting: Semaphore,
}

/// The keys, and how the last fetch went.
#[derive(Clone, Default)]
struct Seen {
    keys: Arc<Vec<Arc<SigningKey>>>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    /// It asks for nothing until it runs.
    pub fn new(config: &Config<'_>) -> anyhow::Result<Self> {
        let Config { url, audience, ca_file, refresh } = *config;
        check_address("OIDC_ISSUER", url, "https://login.example/realms/shop")?;
        ensure!(url.starts_with("https://"), "OIDC_ISSUER={url} is not an https:// address");
        ensure!(
            !audience.is_empty(),
            "OIDC_ISSUER is set and OIDC_AUDIENCE is not: it is this API's name in a token's claim aud"
        );
        verifier::install();
        let authorities = Files::of_authorities("OIDC_CA_FILE", ca_file);
        let client = Client::new(Some(authorities), CONNECT_WITHIN, ANSWER_WITHIN)?;
        Ok(Self(Arc::new(Inner {
            url: url.into(),
            audience: audience.into(),
            client,
            refresh,
            seen: watch::Sender::default(),
            wanted: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
        })))
    }

    pub async fn check(&self, token: &str) -> Result<Verified, Refusal> {
        let header = keys::header(token)?;
        let key = match self.0.find(&header) {
            Some(key) => key,
            None => {
                self.0.look_again().await?;
                self.0.find(&header).ok_or_else(|| self.0.unknown())?
            }
        };
        self.0.verify(token, &key)
    }

    /// Keeps the keys until the service stops.
    pub async fn run(self, stop: CancellationToken) {
        let pause = AGAIN_AFTER.min(self.0.refresh);
        let mut has_failed = false;
        loop {
            let looked = self.0.look().await;
            if let Err(why) = &looked
                && !has_failed
            {
                tracing::warn!(
                    "the keys of OIDC_ISSUER cannot be fetched; those that are known stay valid \
                     for {} h: {why:#}",
                    STALE_AFTER.as_secs() / 3600
                );
            }
            has_failed = looked.is_err();
            let next = async {
                sleep(pause).await;
                if !has_failed {
                    let waited = self.0.refresh.saturating_sub(pause);
                    let _ = timeout(waited, self.0.wanted.notified()).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
        }
    }
}

impl Inner {
    fn find(&self, header: &Header) -> Option<Arc<SigningKey>> {
        let seen = self.seen.borrow();
        seen.fetched_at.filter(|at| at.elapsed() < STALE_AFTER)?;
        keys::find(&seen.keys, header)
    }

    /// Waits for a fetch; not after one that is too recent.
    async fn look_again(&self) -> Result<(), Refusal> {
        let mut seen = self.seen.subscribe();
        let tried_at = seen.borrow_and_update().tried_at;
        if tried_at.is_some_and(|at| at.elapsed() < AGAIN_AFTER.min(self.refresh)) {
            return Ok(());
        }
        let _permit = self.waiting.try_acquire().map_err(|_| Refusal::Unreachable)?;
        self.wanted.notify_one();
        let _ = timeout(CONNECT_WITHIN + ANSWER_WITHIN, seen.changed()).await;
        Ok(())
    }

    fn unknown(&self) -> Refusal {
        let seen = self.seen.borrow();
        if seen.fetched_at.is_none() || seen.fetched_at != seen.tried_at {
            return Refusal::Unreachable;
        }
        Refusal::invalid("the issuer has no key, or several, that fit it")
    }

    fn verify(&self, token: &str, key: &SigningKey) -> Result<Verified, Refusal> {
        let mut validation = Validation::new(key.algorithms[0]);
        validation.algorithms.clone_from(&key.algorithms);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.url]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let decoded: TokenData<Map<String, Value>> = decode(token, &key.key, &validation)?;
        let lifetime = lifetime(decoded.claims.get("exp"), get_current_timestamp());
        Ok(Verified { claims: decoded.claims, lifetime, withdrawn: key.withdrawn.clone() })
    }

    async fn look(&self) -> anyhow::Result<()> {
        let fetched = self.fetch().await;
        let now = Instant::now();
        let last = self.seen.borrow().keys.clone();
        let next = fetched.and_then(|(from, body)| keys::next(&last, &body).context(from));
        self.seen.send_modify(|seen| {
            seen.tried_at = Some(now);
            if let Ok(keys) = &next {
                (seen.keys, seen.fetched_at) = (Arc::new(keys.clone()), Some(now));
            }
        });
        next.map(drop)
    }

    /// The set of keys, and where it is from.
    async fn fetch(&self) -> anyhow::Result<(String, Vec<u8>)> {
        let url = format!("{}{DISCOVERY}", self.url.trim_end_matches('/'));
        let body = self.get(&url).await?;
        let Discovered { issuer, jwks_uri } = serde_json::from_slice(&body)
            .with_context(|| format!("{url} is no discovery document"))?;
        ensure!(
            issuer == self.url,
            "{url} is of the issuer {issuer}: OIDC_ISSUER must be written as there"
        );
        ensure!(jwks_uri.starts_with("https://"), "{url} names keys that are not behind https");
        let body = self.get(&jwks_uri).await?;
        Ok((jwks_uri, body))
    }

    async fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let request = Request::get(url).body(Default::default()).context("an address")?;
        let answer = self.client.send(request).await.map_err(|failure| match failure {
            Failure::NotSent(why) | Failure::NoAnswer(why) => anyhow::anyhow!("{url}: {why}"),
        })?;
        ensure!(answer.status == StatusCode::OK, "{url} answers {}", answer.status);
        Ok(answer.body.map_err(|why| anyhow::anyhow!("{url}: {why}"))?.to_vec())
    }
}

/// The end is a NumericDate, which may have a fraction.
fn lifetime(exp: Option<&Value>, now_s: u64) -> Duration {
    let whole = |exp: &Value| exp.as_u64().or_else(|| Some(exp.as_f64()? as u64));
    let expires_s = exp.and_then(whole).unwrap_or_default();
    Duration::from_secs(expires_s.saturating_add(LEEWAY.as_secs()).saturating_sub(now_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_lasts_until_its_end_and_the_leeway_whether_that_is_whole_seconds_or_not() {
        let lifetime = |exp: Value| lifetime(Some(&exp), 1_800_000_000).as_secs();
        let leeway = LEEWAY.as_secs();
        assert_eq!(lifetime(json!(1_800_000_060)), 60 + leeway);
        assert_eq!(lifetime(json!(1_800_000_060.75)), 60 + leeway);
        assert_eq!(lifetime(json!(1.800_000_06e9)), 60 + leeway);
        assert_eq!(lifetime(json!(1_700_000_000.5)), 0);
        assert!(lifetime(json!(1e300)) > u64::MAX / 2, "for ever");
    }
}
