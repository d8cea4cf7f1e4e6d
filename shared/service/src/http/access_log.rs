//! Logs each request when its answer is sent or has failed: in the combined log format, or as JSON.

use super::{client::Client, limits::Limits, request_id::RequestId};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use messaging::{Env, SystemEnv};
use serde_json::json;
use std::{
    fmt::Write,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use telemetry::LogFormat;
use tokio::time::Instant;

/// Of a header or a path; a longer one is cut.
const LENGTH_MAX: usize = 512;
/// As nginx has it: the client has gone before there was an answer.
const CLIENT_GONE: u16 = 499;

/// Logged when it is dropped.
struct Entry {
    client: String,
    request_id: String,
    method: String,
    path: String,
    protocol: String,
    referer: String,
    user_agent: String,
    status: u16,
    bytes: u64,
    began: Instant,
}

pub async fn log(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    if !limits.logs_access {
        return next.run(request).await;
    }
    let mut entry = Entry::of(&request);
    let answer = next.run(request).await;
    entry.status = answer.status().as_u16();
    answer.map(|body| Body::new(Logged { body, entry }))
}

impl Entry {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let client = extensions.get::<Client>().map(|client| client.address.to_string());
        let id = extensions.get::<RequestId>().map(|RequestId(id)| id.to_string());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        Self {
            client: client.unwrap_or_else(|| "-".into()),
            request_id: id.unwrap_or_else(|| "-".into()),
            method: request.method().to_string(),
            path: cut(path),
            protocol: format!("{:?}", request.version()),
            referer: text(request.headers(), header::REFERER),
            user_agent: text(request.headers(), header::USER_AGENT),
            status: CLIENT_GONE,
            bytes: 0,
            began: Instant::now(),
        }
    }

    /// With the id and the seconds it took after what the format has.
    fn combined(&self) -> String {
        let Self { client, request_id, method, path, protocol, status, bytes, .. } = self;
        let at = SystemEnv.now().format("%d/%b/%Y:%H:%M:%S +0000");
        let [method, path, referer, user_agent] =
            [method, path, &self.referer, &self.user_agent].map(|text| escaped(text));
        let seconds = self.began.elapsed().as_secs_f64();
        format!(
            "{client} - - [{at}] \"{method} {path} {protocol}\" {status} {bytes} \"{referer}\" \
             \"{user_agent}\" {request_id} {seconds:.3}\n"
        )
    }

    fn json(&self) -> String {
        let Self { client, request_id, method, path, protocol, status, bytes, .. } = self;
        let line = json!({
            "timestamp": SystemEnv.now().format("%FT%T%.3fZ").to_string(),
            "level": "INFO",
            "message": "request",
            "client": client,
            "method": method,
            "path": path,
            "protocol": protocol,
            "status": status,
            "bytes": bytes,
            "referer": self.referer,
            "user_agent": self.user_agent,
            "request_id": request_id,
            "seconds": self.began.elapsed().as_secs_f64(),
        });
        format!("{line}\n")
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        telemetry::write_line(|format| match format {
            LogFormat::Text => self.combined(),
            LogFormat::Json => self.json(),
        });
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map_or("-".into(), |value| cut(&String::from_utf8_lossy(value.as_bytes())))
}

fn cut(text: &str) -> String {
    text.chars().take(LENGTH_MAX).collect()
}

/// Nothing of a client's ends the field or the line.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c == '"' || c == '\\' || c.is_control() {
            let _ = write!(out, "\\x{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// An answer's body, counted.
struct Logged {
    body: Body,
    entry: Entry,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn entry() -> Entry {
        let agent = HeaderValue::from_bytes("curl \"8\"é\\".as_bytes()).unwrap();
        let request = axum::http::Request::get("/orders?a=%22")
            .header("user-agent", agent)
            .header("referer", "x".repeat(LENGTH_MAX + 9))
            .body(Body::empty())
            .unwrap();
        let mut entry = Entry::of(&request);
        (entry.status, entry.bytes) = (200, 7);
        entry
    }

    #[tokio::test]
    async fn a_line_is_in_the_combined_format_and_a_client_cannot_break_it() {
        let entry = entry();
        let line = entry.combined();
        let (before, rest) = line.split_once(" [").unwrap();
        let (_, rest) = rest.split_once("] ").unwrap();
        let referer = "x".repeat(LENGTH_MAX);
        let wanted = format!(
            "\"GET /orders?a=%22 HTTP/1.1\" 200 7 \"{referer}\" \"curl \\x228\\x22é\\x5C\" - 0.0"
        );
        assert_eq!(before, "- - -");
        assert!(rest.starts_with(&wanted) && line.matches('\n').count() == 1, "{line}");
    }

    #[tokio::test]
    async fn a_line_is_one_object_of_json() {
        let line = entry().json();
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["status"], &read["path"]), (&json!(200), &json!("/orders?a=%22")));
        assert_eq!(line.matches('\n').count(), 1);
    }
}
