//! Calls a provider by HTTP, over kept-alive connections.

use super::{
    Answer, Asked, Gateway, Request,
    answer::{clean, read},
};
use crate::verdict::Verdict;
use anyhow::{Context, ensure};
use async_trait::async_trait;
use reqwest::{
    Client, RequestBuilder, Response, Url,
    header::{HeaderValue, RETRY_AFTER},
    redirect,
};
use serde_json::json;
use std::{error::Error, time::Duration};
use uuid::Uuid;

pub struct Http {
    client: Client,
    base: String,
}

/// A longer body is not an answer, and is not read to its end.
const BODY_MAX: usize = 64 * 1024;

impl Http {
    /// `timeout` bounds the whole call; the limit for connecting is much shorter, since without a
    /// connection it is certain that nothing was charged.
    pub fn new(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        let example = "an example: PAYMENT_GATEWAY_URL=http://127.0.0.1:3002";
        let parsed = Url::parse(url).with_context(|| {
            format!("PAYMENT_GATEWAY_URL={url} is not a valid address; {example}")
        })?;
        ensure!(
            parsed.scheme() == "http" && parsed.query().is_none() && parsed.fragment().is_none(),
            "PAYMENT_GATEWAY_URL={url} must be a plain http:// address; {example}. \
             For https, put a proxy that does TLS beside this service and name that"
        );
        let client = https::plain()
            .connect_timeout(timeout / 4)
            .timeout(timeout)
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

/// A trace that is not a valid header does not prevent the call.
fn traced(asked: RequestBuilder, request: &Request) -> RequestBuilder {
    let trace = request.trace.as_deref().and_then(|trace| HeaderValue::from_str(trace).ok());
    match trace {
        Some(trace) => asked.header("traceparent", trace),
        None => asked,
    }
}

async fn ask(asked: Asked, request: RequestBuilder) -> Verdict {
    let mut answered = match request.send().await {
        Ok(answered) => answered,
        Err(why) if why.is_connect() || why.is_builder() => {
            return Verdict::Unsent { reason: format!("not sent: {}", root_cause(&why)) };
        }
        Err(why) => return Verdict::Unknown { reason: format!("no answer: {}", root_cause(&why)) },
    };
    let (status, retry_after) = (answered.status().as_u16(), retry_after(&answered));
    match body(&mut answered).await {
        Ok(body) => read(asked, Answer { status, retry_after, body: &body }),
        Err(why) => Verdict::Unknown { reason: format!("{status}, and {why}") },
    }
}

async fn body(answered: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match answered.chunk().await {
            Ok(Some(more)) if body.len() + more.len() <= BODY_MAX => body.extend_from_slice(&more),
            Ok(Some(_)) => return Err(format!("a body of more than {BODY_MAX} bytes")),
            Ok(None) => return Ok(body),
            Err(why) => return Err(format!("the body broke off: {}", root_cause(&why))),
        }
    }
}

/// Only the form in seconds: a date would ask for the same clock on both sides.
fn retry_after(answered: &Response) -> Option<Duration> {
    let text = answered.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

/// The outermost error names the address, and the innermost what is wrong.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    clean(&cause.to_string())
}

#[cfg(test)]
mod tests;
