//! Tests of HTTP/2: many requests on one connection, and clients that abuse that.

use super::{
    encrypted::{Https, client_config},
    *,
};
use crate::http::{HttpSettings, Limits, OpenStream, guarded, limited};
use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use h2::{
    Reason, RecvStream,
    client::{self, SendRequest},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use tokio::task::JoinHandle;

/// A client's connection, and how it ended.
struct Client {
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(server: &Https) -> Self {
        let stream = server.connect_with(h2_config(server)).await;
        let (requests, connection) = client::handshake(stream).await.unwrap();
        Self { requests, ended: tokio::spawn(connection) }
    }

    async fn get(&mut self) -> Result<Response<RecvStream>, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        requests.send_request(request(), true)?.0.await
    }

    async fn text(&mut self) -> String {
        let mut body = self.get().await.unwrap().into_body();
        let mut text = Vec::new();
        while let Some(part) = body.data().await {
            text.extend_from_slice(&part.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    /// By the server: the client would go on.
    async fn ends(self) -> Result<(), h2::Error> {
        let _held = self.requests;
        timeout(SOON, self.ended).await.expect("it is closed in time").unwrap()
    }
}

fn h2_config(server: &Https) -> tokio_rustls::rustls::ClientConfig {
    let mut config = client_config(server);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn request() -> Request<()> {
    Request::get("https://shop.localhost:1/").body(()).unwrap()
}

/// A route that never answers, and how often it was begun and is at work.
fn hanging() -> (Router, Arc<Notify>, Arc<AtomicUsize>) {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (begun, open) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let route = {
        let (begun, open) = (begun.clone(), open.clone());
        async move || {
            open.fetch_add(1, Ordering::Relaxed);
            let _counted = Counted(open.clone());
            begun.notify_one();
            pending::<()>().await;
        }
    };
    (Router::new().route("/", get(route)), begun, open)
}

#[tokio::test]
async fn a_client_that_asks_for_http_2_gets_it_with_the_host_where_http_1_has_it() {
    let host = async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned();
    let server = Https::serve(Router::new().route("/", get(host)), |_| {}).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.text().await, "shop.localhost:1");
    assert_eq!(client.requests.current_max_send_streams(), STREAMS_MAX as usize);
}

#[tokio::test]
async fn a_stream_of_events_goes_on_beside_other_requests() {
    let (say, said) = tokio::sync::mpsc::channel::<&str>(1);
    let said = Arc::new(Mutex::new(Some(said)));
    let events = async move || {
        let said = said.lock().unwrap().take().unwrap();
        let parts = stream::unfold(said, async |mut said| {
            Some((Ok::<_, Infallible>(said.recv().await?), said))
        });
        Body::from_stream(parts)
    };
    let routes = Router::new().route("/", get(events)).route("/other", get(async || "other"));
    let server = Https::serve(routes, |_| {}).await;
    let mut client = Client::connect(&server).await;
    let mut stream = client.get().await.unwrap().into_body();
    for part in ["one", "two"] {
        say.send(part).await.unwrap();
        assert_eq!(stream.data().await.unwrap().unwrap(), part);
        let other = Request::get("https://localhost/other").body(()).unwrap();
        let answer = client.requests.send_request(other, true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    drop(say);
    while let Some(part) = stream.data().await {
        assert!(part.unwrap().is_empty(), "nothing was said");
    }
}

#[tokio::test]
async fn a_burst_of_resets_closes_the_connection_and_no_other() {
    let (routes, _, open) = hanging();
    let server = Https::serve(routes.route("/other", get(async || "other")), |_| {}).await;
    let client = Client::connect(&server).await;
    for _ in 0..1000 {
        let Ok(mut ready) = client.requests.clone().ready().await else { break };
        let Ok((_, mut stream)) = ready.send_request(request(), true) else { break };
        stream.send_reset(Reason::CANCEL);
    }
    assert!(client.ends().await.is_err(), "it is sent away");
    let answer = all(&mut server.send("GET /other HTTP/1.0\r\n\r\n").await).await;
    assert!(answer.ends_with("other"), "{answer}");
    until_none_is(&open).await;
}

#[tokio::test]
async fn requests_that_are_cancelled_one_by_one_close_the_connection_too() {
    let (routes, begun, open) = hanging();
    let server = Https::serve(routes, |_| {}).await;
    let mut client = Client::connect(&server).await;
    let mut cancelled = 0;
    while let Ok(mut ready) = client.requests.clone().ready().await {
        let Ok((_, mut stream)) = ready.send_request(request(), true) else { break };
        tokio::select! {
            () = begun.notified() => {}
            _ = &mut client.ended => break,
        }
        stream.send_reset(Reason::CANCEL);
        cancelled += 1;
        assert!(cancelled < 300, "the connection is still open");
    }
    assert!(cancelled > 50, "a few are no abuse: {cancelled}");
    until_none_is(&open).await;
}

#[tokio::test]
async fn a_client_that_lets_its_requests_finish_may_cancel_some() {
    let (routes, begun, _) = hanging();
    let routes = routes.route("/other", get(async || "other"));
    let server = Https::serve(routes, |_| {}).await;
    let mut client = Client::connect(&server).await;
    for _ in 0..300 {
        let (_, mut stream) = client.requests.send_request(request(), true).unwrap();
        begun.notified().await;
        stream.send_reset(Reason::CANCEL);
        let other = Request::get("https://localhost/other").body(()).unwrap();
        let mut ready = client.requests.clone().ready().await.unwrap();
        assert_eq!(ready.send_request(other, true).unwrap().0.await.unwrap().status(), 200);
    }
}

/// Whatever is cancelled is let go.
async fn until_none_is(open: &AtomicUsize) {
    let until = Instant::now() + SOON;
    while open.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < until, "requests are at work whose client has gone");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_over_http_2_is_let_go() {
    let (routes, goes) = big();
    let server = Https::serve(routes, |server| server.stalled = Duration::from_secs(1)).await;
    let mut client = Client::connect(&server).await;
    // Its window stays as it is, and the connection answers everything else.
    let unread = client.get().await.unwrap();
    timeout(SOON, goes).await.expect("it is let go in time").unwrap();
    drop(unread);
    let _ = client.ends().await;
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_read_to_its_end() {
    let whole = async || vec![b'x'; 400_000];
    let routes = Router::new().route("/", get(whole));
    let server = Https::serve(routes, |server| server.stalled = Duration::from_secs(4)).await;
    let mut client = Client::connect(&server).await;
    let mut body = client.get().await.unwrap().into_body();
    let mut read = 0;
    while let Some(part) = body.data().await {
        let length = part.expect("it is not cut off").len();
        // No wait for something: the client is slow.
        tokio::time::sleep(Duration::from_millis(200)).await;
        body.flow_control().release_capacity(length).unwrap();
        read += length;
    }
    assert_eq!(read, 400_000);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let soon = Duration::from_secs(2);
    let server = Https::serve(hello(), |server| server.idle = soon).await;
    let mut client = Client::connect(&server).await;
    client.text().await;
    client.ends().await.unwrap();
}

/// A frame's header and payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn endless_headers_close_the_connection() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let server = Https::serve(hello(), |_| {}).await;
    // A header of a name and a value, not indexed, and one of nothing.
    let header = b"\x00\x01x\x01y".repeat(100);
    for part in [&header[..], b""] {
        let mut client = server.connect_with(h2_config(&server)).await;
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, 0, 1, b"\x82")].concat();
        client.write_all(&begin).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(client);
        let ends = tokio::spawn(async move { all_bytes(&mut reading).await });
        let mut sent = 0;
        while writing.write_all(&frame(CONTINUATION, 0, 1, part)).await.is_ok() {
            sent += 1;
            assert!(sent < 1_000_000, "the connection is still open");
        }
        timeout(SOON, ends).await.expect("it is closed").unwrap();
    }
}

/// Routes under such limits, as a service has them.
fn under(change: impl FnOnce(&mut HttpSettings)) -> Router {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        http: HttpSettings,
    }
    let mut settings = <Cli as clap::Parser>::parse_from(["service"]).http;
    settings.allowed_hosts = "*".parse().unwrap();
    change(&mut settings);
    let limits = Arc::new(Limits::new(&settings));
    let stream = async |permit: OpenStream| {
        let open = stream::iter([Ok::<_, Infallible>("open")]).chain(stream::pending());
        Body::from_stream(open.inspect(move |_| _ = &permit))
    };
    let routes = Router::new().route("/", get(async || "here")).route("/stream", get(stream));
    guarded(limited(routes, limits.clone()), limits.clone()).with_state(limits)
}

/// The statuses of these requests, all at once on one connection, whose bodies stay open.
async fn statuses(client: &mut Client, path: &str, count: usize) -> (Vec<u16>, Vec<RecvStream>) {
    let mut answers = Vec::new();
    for _ in 0..count {
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let mut requests = client.requests.clone().ready().await.unwrap();
        answers.push(requests.send_request(request, true).unwrap().0);
    }
    let answers = futures::future::try_join_all(answers).await.unwrap();
    answers.into_iter().map(|answer| (answer.status().as_u16(), answer.into_body())).unzip()
}

#[tokio::test]
async fn the_rate_of_a_client_counts_the_requests_of_its_connection() {
    let server = Https::serve(under(|settings| settings.rate_limit = 5), |_| {}).await;
    let mut client = Client::connect(&server).await;
    let (statuses, _) = statuses(&mut client, "/", 60).await;
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    // Some may be admitted anew while the last are answered.
    assert!((5..30).contains(&admitted) && admitted + refused == 60, "{statuses:?}");
}

#[tokio::test]
async fn the_streams_of_a_client_are_counted_on_one_connection_too() {
    let server = Https::serve(under(|settings| settings.streams_per_client = 3), |_| {}).await;
    let mut client = Client::connect(&server).await;
    let (mut found, mut open) = statuses(&mut client, "/stream", 8).await;
    found.sort_unstable();
    assert_eq!(found, [200, 200, 200, 429, 429, 429, 429, 429]);
    // One that is given up makes room.
    open.clear();
    let again = async { while statuses(&mut client, "/stream", 1).await.0 != [200] {} };
    timeout(SOON, again).await.expect("it makes room");
}
