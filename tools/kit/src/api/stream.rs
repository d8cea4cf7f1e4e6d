//! Reads server-sent events, and reconnects where needed.

use std::time::Duration;

use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::{Api, ApiError};

/// The service sends at least a comment every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A service that restarts is back by then.
const TRIES_MAX: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

pub struct Stream {
    api: Api,
    path: String,
    response: Option<Response>,
    lines: Lines,
}

impl Stream {
    pub async fn open(api: Api, path: String) -> Result<Self, ApiError> {
        let response = Some(connect(&api, &path, None).await?);
        Ok(Self { api, path, response, lines: Lines::default() })
    }

    /// The next event: its kind and its data. A new connection may repeat events; the caller must
    /// recognise them.
    pub async fn next(&mut self) -> Result<(String, String), ApiError> {
        loop {
            if let Some(event) = self.lines.event() {
                return Ok(event);
            }
            self.more().await?;
        }
    }

    /// Reads on, from a new connection where the old one has broken.
    async fn more(&mut self) -> Result<(), ApiError> {
        if let Some(response) = &mut self.response
            && let Ok(Ok(Some(bytes))) = timeout(SILENCE_MAX, response.chunk()).await
        {
            self.lines.feed(&bytes);
            return Ok(());
        }
        let last_id = self.lines.last_id.take();
        self.lines = Lines { last_id, ..Lines::default() };
        self.response = None;
        let mut tries = 0;
        loop {
            match connect(&self.api, &self.path, self.lines.last_id.as_deref()).await {
                Ok(response) => {
                    self.response = Some(response);
                    return Ok(());
                }
                Err(why) if tries == TRIES_MAX || !is_passing(&why) => return Err(why),
                Err(_) => tries += 1,
            }
            sleep(BETWEEN_TRIES).await;
        }
    }

    pub fn read<T: DeserializeOwned>(&self, data: &str) -> Result<T, ApiError> {
        serde_json::from_str(data).map_err(|why| self.api.strange(why))
    }
}

/// `last_id` is the id of the last received event.
async fn connect(api: &Api, path: &str, last_id: Option<&str>) -> Result<Response, ApiError> {
    let mut request = api.request(Method::GET, path).header("accept", "text/event-stream");
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let opened = timeout(super::ANSWER_WITHIN, api.accepted(request)).await;
    opened.unwrap_or_else(|_| Err(api.strange("no event stream in time")))
}

/// The service is down or overloaded, and may recover soon.
fn is_passing(why: &ApiError) -> bool {
    match why {
        ApiError::Unreachable { .. } => true,
        ApiError::Refused(problem) => problem.status >= 500 || problem.status == 429,
        ApiError::Untrusted { .. } | ApiError::Strange { .. } => false,
    }
}

/// Parses events from bytes in pieces of any size.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    kind: String,
    data: Vec<String>,
    id: Option<String>,
    /// Of the last whole event.
    last_id: Option<String>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole event: its kind and its data.
    fn event(&mut self) -> Option<(String, String)> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.kind = value.into(),
                "data" => self.data.push(value.into()),
                "id" => self.id = Some(value.into()),
                "" if line.is_empty() => {
                    let (kind, data) =
                        (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
                    self.last_id = self.id.take().or(self.last_id.take());
                    if !data.is_empty() {
                        return Some((kind, data.join("\n")));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Happened;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use uuid::Uuid;

    fn step(number: u128, event: &str) -> String {
        let id = Uuid::from_u128(number);
        format!(
            r#"{{"event":"{event}","event_id":"{id}","service":"order","caused_by":null,
                "at":"2026-01-01T00:00:00.000Z","detail":{{}}}}"#
        )
        .replace('\n', "")
    }

    /// Answers each connection with the next of these streams, and then closes it.
    async fn service_that_says(streams: Vec<String>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for stream in streams {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                assert!(socket.read(&mut request).await.unwrap() > 0);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                socket.write_all(format!("{head}{stream}").as_bytes()).await.unwrap();
            }
        });
        Api::at(&url)
    }

    #[tokio::test]
    async fn a_stream_that_breaks_is_taken_up_where_it_was() {
        let (one, two) = (step(1, "order.created"), step(2, "payment.approved"));
        let cut = format!("event: step\ndata: {one}\n\nevent: step\ndata: {{\"eve");
        let whole = format!(
            "event: step\ndata: {one}\n\nevent: step\ndata: {two}\n\n\
             event: end\ndata: {{\"status\":\"CONFIRMED\"}}\n\n"
        );
        let api = service_that_says(vec![cut, whole]).await;
        let mut steps = api.follow(Uuid::nil()).await.unwrap();
        let mut heard = Vec::new();
        while let Some(happened) = steps.next().await.unwrap() {
            heard.push(match happened {
                Happened::Step(step) => step.event,
                Happened::End { status } => status,
            });
        }
        assert_eq!(heard, ["order.created", "payment.approved", "CONFIRMED"]);
    }

    #[test]
    fn events_come_out_whole_however_the_bytes_come_in() {
        let stream = ": hello\r\n\r\nid: 1\nevent: step\ndata: {\"a\":\ndata: 1}\n\n\
                      event:end\ndata:x\n\nevent: cut";
        for size in [1, 2, 7, stream.len()] {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                lines.feed(piece);
                found.extend(std::iter::from_fn(|| lines.event()));
            }
            let expected = [("step", "{\"a\":\n1}"), ("end", "x")];
            assert_eq!(found, expected.map(|(kind, data)| (kind.to_owned(), data.to_owned())));
        }
    }
}
