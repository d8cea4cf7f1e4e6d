//! Calls a provider by HTTP, over kept-alive connections.

use super::{
    Answer, Asked, Gateway, Request,
    answer::{clean, mismatch, read},
    credentials::{Credentials, Reading, Signed},
};
use crate::verdict::Verdict;
use async_trait::async_trait;
use http_client::{
    Client, Failure, Files, check_address,
    hyper::{
        self, Method, StatusCode,
        header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
        http::request::Builder,
    },
};
use messaging::{Env, SystemEnv};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use uuid::Uuid;

pub struct Http {
    client: Client,
    base: String,
    /// The path of the base URL: a signature covers the whole path.
    base_path: String,
    credentials: Credentials,
}

/// A call to be made: a second time, if the credentials have changed meanwhile.
struct Call<'a> {
    asked: Asked,
    method: Method,
    path: String,
    /// The idempotency key.
    key: Option<Uuid>,
    body: Vec<u8>,
    /// What it is about; none for a probe.
    request: Option<&'a Request>,
}

impl Http {
    /// `timeout` bounds the whole call; the limit for connecting is much shorter, since without a
    /// connection it is certain that nothing was charged.
    pub fn new(
        url: &str,
        timeout: Duration,
        ca_file: Option<&Path>,
        credentials: Credentials,
    ) -> anyhow::Result<Self> {
        check_address("PAYMENT_GATEWAY_URL", url, "http://127.0.0.1:3002")?;
        let base = url.trim_end_matches('/').to_owned();
        let authority = base.find("://").map_or(0, |at| at + 3);
        let base_path = base[authority..].find('/').map(|at| base[authority + at..].to_owned());
        let authorities = url
            .starts_with("https:")
            .then(|| Files::of_authorities("PAYMENT_GATEWAY_CA_FILE", ca_file));
        let is_near = ["http://127.", "http://localhost", "http://[::1]"];
        if url.starts_with("http:")
            && !credentials.are_none()
            && !is_near.iter().any(|near| url.starts_with(near))
        {
            tracing::warn!(
                "the provider's credentials go over the network in the clear: use https"
            );
        }
        let client = Client::new(authorities, timeout / 4, timeout)?;
        Ok(Self { client, base_path: base_path.unwrap_or_default(), base, credentials })
    }

    /// If the provider refuses credentials that have just been changed, again with the new ones.
    async fn ask(&self, call: Call<'_>) -> Verdict {
        self.ask_from(self.credentials.read(), call).await
    }

    async fn ask_from(&self, used: Reading, call: Call<'_>) -> Verdict {
        let verdict = self.ask_as(&used, &call).await;
        let now = self.credentials.read();
        let verdict = match verdict {
            Verdict::Unauthorised { .. } if now != used => match self.ask_as(&now, &call).await {
                // The first call may have been a charge all the same.
                Verdict::Unsent { .. } => verdict,
                second => second,
            },
            verdict => verdict,
        };
        match verdict {
            Verdict::Unauthorised { reason } => {
                let reason = format!("{reason} ({})", self.credentials.setting());
                Verdict::Unauthorised { reason }
            }
            verdict => verdict,
        }
    }

    async fn ask_as(&self, credentials: &Reading, call: &Call<'_>) -> Verdict {
        let unsent = |why: String| Verdict::Unsent { reason: format!("not sent: {}", clean(&why)) };
        let request = match self.request(credentials, call) {
            Ok(request) => request,
            Err(why) => return unsent(format!("{why:#}")),
        };
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(Failure::NotSent(why)) => return unsent(why),
            Err(Failure::NoAnswer(why)) => {
                return Verdict::Unknown { reason: format!("no answer: {}", clean(&why)) };
            }
        };
        let (status, retry_after) = (answer.status.as_u16(), retry_after(&answer));
        match answer.body {
            Ok(body) => call.read(Answer { status, retry_after, body: &body }),
            // It was not let in, whatever it says of that.
            Err(_) if is_refusal(answer.status) => {
                call.read(Answer { status, retry_after, body: b"" })
            }
            Err(why) => Verdict::Unknown { reason: format!("{status}, and {}", clean(&why)) },
        }
    }

    fn request(
        &self,
        credentials: &Reading,
        call: &Call<'_>,
    ) -> anyhow::Result<hyper::Request<http_client::Body>> {
        let key = call.key.map(|key| key.to_string()).unwrap_or_default();
        let path = format!("{}{}", self.base_path, call.path);
        let signed = Signed { method: &call.method, path: &path, key: &key, body: &call.body };
        let seconds = SystemEnv.now().timestamp();
        let mut request = hyper::Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.base, call.path));
        if !key.is_empty() {
            request = request.header("idempotency-key", key.as_str());
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some((name, value)) = credentials.header(signed, seconds)? {
            request = request.header(name, value);
        }
        Ok(traced(request, call.request).body(call.body.clone().into())?)
    }
}

impl<'a> Call<'a> {
    fn get(key: Uuid, request: Option<&'a Request>) -> Self {
        let (asked, path) = (Asked::LookUp, format!("/charges/{key}"));
        Self { asked, method: Method::GET, path, key: None, body: Vec::new(), request }
    }

    fn post(asked: Asked, path: impl Into<String>, request: &'a Request, body: &Value) -> Self {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (path, key) = (path.into(), Some(request.key));
        Self { asked, method: Method::POST, path, key, body, request: Some(request) }
    }

    /// An answer about something else is not an answer.
    fn read(&self, answer: Answer<'_>) -> Verdict {
        let verdict = read(self.asked, answer);
        let is_word =
            matches!(verdict, Verdict::Done { .. } | Verdict::Declined { .. } | Verdict::Voided);
        let wrong = self.request.filter(|_| is_word).and_then(|it| mismatch(it, answer.body));
        match (wrong, self.request) {
            (Some(wrong), Some(request)) => {
                tracing::error!(
                    order_id = %request.order_id,
                    "the provider's answer is about something else ({wrong}): not believed; asking \
                     again, and an operator must ask the provider"
                );
                Verdict::Unknown { reason: format!("{}, and {wrong}", answer.status) }
            }
            _ => verdict,
        }
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
        self.ask(Call::post(Asked::Charge, "/charge", request, &body)).await
    }

    async fn look_up(&self, request: &Request) -> Verdict {
        self.ask(Call::get(request.key, Some(request))).await
    }

    async fn void(&self, request: &Request) -> Verdict {
        let path = format!("/charges/{}/void", request.key);
        self.ask(Call::post(Asked::Void, path, request, &Value::Null)).await
    }

    async fn refund(&self, request: &Request, charge_key: Uuid) -> Verdict {
        let body = json!({
            "order_id": request.order_id,
            "charge": charge_key,
            "amount": request.amount,
        });
        self.ask(Call::post(Asked::Refund, "/refund", request, &body)).await
    }

    async fn probe(&self) -> Verdict {
        self.ask(Call::get(Uuid::nil(), None)).await
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// A trace that is not a valid header does not prevent the call.
fn traced(call: Builder, request: Option<&Request>) -> Builder {
    let trace = request.and_then(|request| request.trace.as_deref());
    match trace.and_then(|trace| HeaderValue::from_str(trace).ok()) {
        Some(trace) => call.header("traceparent", trace),
        None => call,
    }
}

/// Only the form in seconds: a date would ask for the same clock on both sides.
fn retry_after(answer: &http_client::Answer) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
