//! A client of the order service, whose errors fit in one line.

mod news;
mod problem;
mod steps;
mod stream;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use events::{EventId, Item, Money, OrderId};
use order::keys::ApiKey;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

pub use news::{Heard, News, Said};
pub use problem::Problem;
pub use steps::{Happened, Steps};
use stream::Stream;

use crate::keys;
use crate::settings::Settings;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    http: Client,
    key: Option<Key>,
}

/// It is not shown by `Debug`.
#[derive(Clone)]
struct Key(Arc<str>);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("…")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(
        "the order service is not reachable at {url} ({why}): run `make up`, or set \
         ORDER_HTTP_PORT or --url"
    )]
    Unreachable { url: String, why: String },
    #[error(
        "the order service at {url} is not trusted ({why}): name the file of its authority in \
         ORDER_CA_FILE, and the service as its certificate does"
    )]
    Untrusted { url: String, why: String },
    #[error("{0}")]
    Refused(Problem),
    #[error("unexpected answer from {url}, is it the order service? {why}")]
    Strange { url: String, why: String },
}

/// The body of `POST /orders`. The method is text, so that the service can refuse it.
#[derive(Clone, Debug, Serialize)]
pub struct Draft {
    pub customer_id: Uuid,
    pub payment_method: String,
    pub items: Vec<Item>,
}

/// The answer as received, and as parsed by the caller.
#[derive(Clone, Debug)]
pub struct Answer {
    url: String,
    pub text: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    pub order_id: OrderId,
    pub customer_id: Uuid,
    pub payment_method: String,
    pub status: String,
    pub total_amount: Money,
    pub items: Vec<Item>,
    pub tracking_code: Option<String>,
    pub created_at: DateTime<Utc>,
    #[serde(default)]
    pub timeline: Vec<Step>,
}

/// A line of an order's timeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub event: String,
    pub event_id: EventId,
    pub service: String,
    pub at: DateTime<Utc>,
    pub caused_by: Option<EventId>,
    pub detail: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    pub orders: Vec<T>,
    pub next_cursor: Option<String>,
}

/// The part of an order that shows whether it has ended.
#[derive(Clone, Debug, Deserialize)]
pub struct Brief {
    pub order_id: OrderId,
    pub status: String,
}

/// The filters of `GET /orders`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<String>,
    pub customer_id: Option<Uuid>,
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

impl Api {
    /// By plain HTTP.
    pub fn at(url: &str) -> Self {
        Self::with(url, https::plain()).expect("a client without TLS needs nothing from outside")
    }

    /// Over https, the service's certificate is from an authority in this file, or from one that
    /// the machine trusts.
    pub fn trusting(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let is_address = Url::parse(url).is_ok_and(|url| url.has_host());
        ensure!(is_address, "{url:?} is no address, such as http://127.0.0.1:3001");
        let client = https::client(url, ca_file)
            .with_context(|| format!("ORDER_CA_FILE is to verify the order service at {url}"))?;
        Ok(Self::with(url, client)?)
    }

    fn with(url: &str, client: ClientBuilder) -> reqwest::Result<Self> {
        // Never through a proxy: it is a service on this machine, or one that the user named.
        let http = client.connect_timeout(CONNECT_WITHIN).no_proxy().build()?;
        Ok(Self { url: url.trim_end_matches('/').into(), http, key: None })
    }

    /// At the address of these settings, with their key.
    pub fn of(settings: &Settings) -> anyhow::Result<Self> {
        let api = Self::trusting(&settings.order_url(), settings.order_authority().as_deref())?;
        Ok(api.with_key(keys::of(settings)?.as_ref()))
    }

    #[must_use]
    pub fn with_key(self, key: Option<&ApiKey>) -> Self {
        Self { key: key.map(|key| Key(key.to_string().into())), ..self }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn place(&self, draft: &Draft, key: Option<&str>) -> Result<Answer, ApiError> {
        let mut request = self.request(Method::POST, "/orders").json(draft);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.answer(request).await
    }

    pub async fn order(&self, id: OrderId) -> Result<Answer, ApiError> {
        self.answer(self.request(Method::GET, &format!("/orders/{id}"))).await
    }

    pub async fn list(&self, filter: &Filter) -> Result<Answer, ApiError> {
        let query = [
            ("status", filter.status.clone()),
            ("customer_id", filter.customer_id.map(|id| id.to_string())),
            ("limit", filter.limit.map(|limit| limit.to_string())),
            ("cursor", filter.cursor.clone()),
        ];
        let query: Vec<_> =
            query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.answer(self.request(Method::GET, "/orders").query(&query)).await
    }

    pub async fn cancel(&self, id: OrderId) -> Result<Answer, ApiError> {
        self.cancel_for(id, None).await
    }

    /// An operator's reason is recorded.
    pub async fn cancel_for(&self, id: OrderId, reason: Option<&str>) -> Result<Answer, ApiError> {
        let request = self.request(Method::POST, &format!("/orders/{id}/cancel"));
        let query: Vec<_> = reason.map(|reason| ("reason", reason)).into_iter().collect();
        self.answer(request.query(&query)).await
    }

    /// The order's steps, past and future, to its end.
    pub async fn follow(&self, id: OrderId) -> Result<Steps, ApiError> {
        Steps::open(self.clone(), id).await
    }

    /// The events of all orders, as they happen.
    pub async fn news(&self) -> Result<News, ApiError> {
        News::open(self.clone()).await
    }

    /// Whether it can do all of its work; the error says why not.
    pub async fn ready(&self) -> Result<(), ApiError> {
        self.answer(self.request(Method::GET, "/readyz")).await.map(drop)
    }

    /// The orders that this process of the service ends, a batch at a time.
    pub async fn endings(&self) -> Result<Endings, ApiError> {
        Ok(Endings(Stream::open(self.clone(), "/orders/endings".into()).await?))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(Key(key)) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, ApiError> {
        let response = self.accepted(request.timeout(ANSWER_WITHIN)).await?;
        let text = response.text().await.map_err(|why| self.unreachable(&why))?;
        Ok(Answer { url: self.url.clone(), text })
    }

    /// Sends the request; fails where the service answers with an error.
    async fn accepted(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|why| self.unreachable(&why))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|why| self.unreachable(&why))?;
        match serde_json::from_str(&text) {
            Ok(problem) => Err(ApiError::Refused(problem)),
            Err(_) => Err(self.strange(format!("status {status} without a problem+json"))),
        }
    }

    fn unreachable(&self, why: &reqwest::Error) -> ApiError {
        let (url, why) = (self.url.clone(), innermost(why));
        match why.starts_with("invalid peer certificate") {
            true => ApiError::Untrusted { url, why },
            false => ApiError::Unreachable { url, why },
        }
    }

    fn strange(&self, why: impl fmt::Display) -> ApiError {
        ApiError::Strange { url: self.url.clone(), why: why.to_string() }
    }
}

pub struct Endings(Stream);

impl Endings {
    pub async fn next(&mut self) -> Result<Vec<Brief>, ApiError> {
        loop {
            let (kind, data) = self.0.next().await?;
            if kind == "ended" {
                return self.0.read(&data);
            }
        }
    }
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_str(&self.text).map_err(|why| {
            let (url, why) = (self.url.clone(), why.to_string());
            ApiError::Strange { url, why }
        })
    }
}

/// "connection refused" is the last of the library's nested errors.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_service_that_is_not_there_is_told_with_what_to_do() {
        let port = servers::ports::free().unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        let error = Api::at(&url).order(Uuid::nil()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("not reachable at http://127.0.0.1:{port} (")), "{error}");
        assert!(error.contains("run `make up`"), "{error}");
    }

    #[test]
    fn an_order_is_read_as_it_is_shown() {
        let text = r#"{"order_id":"0190b5e4-0000-7000-8000-000000000001","status":"PENDING",
            "customer_id":"123e4567-e89b-12d3-a456-426614174000","payment_method":"pix",
            "total_amount":99.80,"tracking_code":null,"created_at":"2026-01-01T00:00:00.000Z",
            "updated_at":"2026-01-01T00:00:00.000Z","a_new_field":1,"timeline":[],
            "items":[{"product_id":"00000000-0000-0000-0000-000000000001","quantity":2,
                "unit_price":49.90}]}"#;
        let answer = Answer { url: String::new(), text: text.into() };
        let order: Order = answer.read().unwrap();
        assert_eq!(order.total_amount.to_string(), "99.80");
        assert_eq!(answer.read::<Brief>().unwrap().status, "PENDING");
        assert!(matches!(answer.read::<Page<Brief>>(), Err(ApiError::Strange { .. })));
    }
}
