#![doc = include_str!("../README.md")]

mod connector;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use connector::Connector;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, body::Incoming, http::Uri};
use hyper_util::{
    client::legacy::{Client as Pooled, Error},
    rt::{TokioExecutor, TokioTimer},
};
use std::{error, time::Duration};
use tokio::time::{Instant, timeout_at};

pub use hyper;
pub type Body = Full<Bytes>;
pub use tls::Files;

/// A longer body is not an answer, and is not read to its end.
pub const BODY_MAX: usize = 64 * 1024;
/// A server may close an idle connection: after so long it is not used again.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Follows no redirection, and repeats no request that may have been sent.
#[derive(Clone, Debug)]
pub struct Client {
    pooled: Pooled<Connector, Full<Bytes>>,
    timeout: Duration,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Or why it could not be read to its end.
    pub body: Result<Bytes, String>,
}

#[derive(Debug)]
pub enum Failure {
    /// No connection could be made: it is certain that nothing was sent.
    NotSent(String),
    /// It may have been sent.
    NoAnswer(String),
}

impl Client {
    /// `authorities` verify servers that are called by https. `timeout` bounds the whole call, and
    /// `connect_timeout` what comes before the request is sent: TCP and TLS.
    pub fn new(
        authorities: Option<Files>,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let connector = Connector::new(authorities, connect_timeout)?;
        let pooled = Pooled::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self { pooled, timeout })
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let until = Instant::now() + self.timeout;
        let answered = match timeout_at(until, self.pooled.request(request)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(why)) => return Err(failure(&why)),
            Err(_) => return Err(Failure::NoAnswer("operation timed out".into())),
        };
        let (parts, body) = answered.into_parts();
        let late = |_| Err("the body broke off: operation timed out".into());
        let body = timeout_at(until, whole(body)).await.unwrap_or_else(late);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

async fn whole(mut body: Incoming) -> Result<Bytes, String> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| format!("the body broke off: {}", root_cause(&why)))?;
        let more = frame.data_ref().map(|data| &data[..]).unwrap_or_default();
        if whole.len() + more.len() > BODY_MAX {
            return Err(format!("a body of more than {BODY_MAX} bytes"));
        }
        whole.extend_from_slice(more);
    }
    Ok(whole.into())
}

fn failure(why: &Error) -> Failure {
    let reason = root_cause(why);
    if why.is_connect() { Failure::NotSent(reason) } else { Failure::NoAnswer(reason) }
}

/// The outermost error names the address, and the innermost what is wrong.
fn root_cause(error: &dyn error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Refuses what is not an address of a server: `name` is the variable that sets it.
pub fn check_address(name: &str, url: &str, example: &str) -> anyhow::Result<()> {
    let example = format!("an example: {name}={example}");
    let uri: Option<Uri> = url.parse().ok().filter(|_| !url.contains(['?', '#']));
    let is_ours = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let Some(uri) = uri.filter(is_ours).filter(|uri| uri.host().is_some_and(|it| !it.is_empty()))
    else {
        anyhow::bail!("{name}={url} is not a valid http:// or https:// address; {example}");
    };
    // It is not repeated: it has a password.
    let has_login = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    anyhow::ensure!(!has_login, "{name} has a login in it, which would be in logs; {example}");
    Ok(())
}
