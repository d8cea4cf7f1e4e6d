//! A provider that is asked by HTTP, over connections that are kept.
//!
//! | it answers | that means |
//! | --- | --- |
//! | 200, and a body with `status` | what it says: `approved`, `declined`, `voided`, `refunded` |
//! | 422 to a charge | declined for good |
//! | 410 to a charge | voided before |
//! | 404 to a look-up | nothing charged so far |
//! | 503, 429 | this call has done nothing; again, not before `Retry-After` |
//! | (no connection could be made) | the same |
//! | (nothing in time, or half an answer) | unknown: it is looked up |
//! | 408, 409, another 5xx, a 200 that says nothing | the same |
//! | 400, 401, 403, a redirection, and all others | our request is wrong: repeated slowly |

use super::{Gateway, Request};
use crate::verdict::Verdict;
use anyhow::{Context, ensure};
use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER, redirect};
use serde::Deserialize;
use serde_json::json;
use std::{error::Error, time::Duration};
use uuid::Uuid;

pub struct Http {
    client: Client,
    base: String,
}

/// What was asked: some answers mean something to one question only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Charge,
    LookUp,
    Void,
    Refund,
}

#[derive(Deserialize)]
struct Body {
    status: Option<String>,
    reference: Option<String>,
    reason: Option<String>,
}

impl Http {
    /// Whoever asks gives up after `timeout`; a connection has to be there much sooner, since
    /// without one it is certain that nothing was charged.
    pub fn new(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        let example = "an example: PAYMENT_GATEWAY_URL=http://127.0.0.1:3002";
        let parsed = Url::parse(url)
            .with_context(|| format!("PAYMENT_GATEWAY_URL={url} is no address; {example}"))?;
        ensure!(
            parsed.scheme() == "http" && parsed.query().is_none() && parsed.fragment().is_none(),
            "PAYMENT_GATEWAY_URL={url} must be a plain http:// address; {example}. \
             For https, put a proxy that does TLS beside this service and name that"
        );
        let client = Client::builder()
            .connect_timeout(timeout / 4)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self { client, base: url.trim_end_matches('/').to_owned() })
    }

    fn post(&self, path: &str, request: &Request) -> RequestBuilder {
        let asked = self.client.post(format!("{}{path}", self.base));
        traced(asked, request).header("idempotency-key", request.key.to_string())
    }
}

#[async_trait]
impl Gateway for Http {
    async fn charge(&self, request: &Request) -> Verdict {
        // The same for every attempt: a key belongs to one body.
        let body = json!({
            "order_id": request.order_id,
            "payment_method": request.method,
            "amount": request.amount,
        });
        ask(Asked::Charge, self.post("/charge", request).json(&body)).await
    }

    async fn look_up(&self, request: &Request) -> Verdict {
        let asked = self.client.get(format!("{}/charges/{}", self.base, request.key));
        ask(Asked::LookUp, traced(asked, request)).await
    }

    async fn void(&self, request: &Request) -> Verdict {
        let path = format!("/charges/{}/void", request.key);
        ask(Asked::Void, self.post(&path, request)).await
    }

    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict {
        let body = json!({
            "order_id": request.order_id,
            "charge": charge_key,
            "amount": request.amount,
        });
        ask(Asked::Refund, self.post("/refund", request).json(&body)).await
    }

    async fn probe(&self) -> Verdict {
        let asked = self.client.get(format!("{}/charges/{}", self.base, Uuid::nil()));
        ask(Asked::LookUp, asked).await
    }
}

fn traced(asked: RequestBuilder, request: &Request) -> RequestBuilder {
    match &request.trace {
        Some(trace) => asked.header("traceparent", trace),
        None => asked,
    }
}

async fn ask(asked: Asked, request: RequestBuilder) -> Verdict {
    let answered = match request.send().await {
        Ok(answered) => answered,
        Err(why) if why.is_connect() => {
            return Verdict::unavailable(format!("no connection: {}", root_cause(&why)));
        }
        // It cannot be sent as it is, whatever the provider does.
        Err(why) if why.is_builder() => {
            return Verdict::Refused { reason: format!("no request: {}", root_cause(&why)) };
        }
        Err(why) => return Verdict::Unknown { reason: format!("no answer: {}", root_cause(&why)) },
    };
    let (status, retry_after) = (answered.status(), retry_after(&answered));
    match answered.bytes().await {
        Ok(body) => read(asked, status, retry_after, &body),
        Err(why) => Verdict::Unknown {
            reason: format!("{status}, and the connection broke: {}", root_cause(&why)),
        },
    }
}

/// Only the form in seconds: a date would ask for the same clock on both sides.
fn retry_after(answered: &Response) -> Option<Duration> {
    let text = answered.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn read(asked: Asked, status: StatusCode, retry_after: Option<Duration>, bytes: &[u8]) -> Verdict {
    let body: Option<Body> = serde_json::from_slice(bytes).ok();
    let reason = || {
        let said = body.as_ref().and_then(|body| body.reason.clone());
        let said = said.or_else(|| status.canonical_reason().map(Into::into));
        format!("{}: {}", status.as_u16(), said.unwrap_or_default())
    };
    match status.as_u16() {
        200 => match body.and_then(|body| said(asked, body)) {
            Some(word) => word,
            None => Verdict::Unknown { reason: "200, and a body that says nothing known".into() },
        },
        422 if asked == Asked::Charge => Verdict::Declined { reason: reason() },
        410 if asked == Asked::Charge => Verdict::Voided,
        404 if asked == Asked::LookUp => Verdict::NotCharged,
        429 | 503 => Verdict::Unavailable { reason: reason(), retry_after },
        408 | 409 | 500.. => Verdict::Unknown { reason: reason() },
        _ => Verdict::Refused { reason: reason() },
    }
}

fn said(asked: Asked, Body { status, reference, reason }: Body) -> Option<Verdict> {
    match (asked, status?.as_str()) {
        (Asked::Refund, "refunded") => Some(Verdict::Done { reference: reference? }),
        (Asked::Refund, _) => None,
        (_, "approved") => Some(Verdict::Done { reference: reference? }),
        (Asked::LookUp | Asked::Void, "declined") => {
            Some(Verdict::Declined { reason: format!("422: {}", reason.unwrap_or_default()) })
        }
        (Asked::LookUp | Asked::Void, "voided") => Some(Verdict::Voided),
        _ => None,
    }
}

/// The outermost error names the address, and the innermost what is wrong.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
