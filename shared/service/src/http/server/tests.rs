mod encrypted;
mod multiplexed;

use super::*;
use axum::{
    body::{Body, Bytes},
    routing::get,
};
use std::sync::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{Notify, oneshot},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(20);

/// Serves until the test ends.
async fn serve(routes: Router, connections_max: usize, stalled: Duration) -> SocketAddr {
    let listen = Listen { address: ([127, 0, 0, 1], 0).into(), connections_max, tls: None };
    let server = Server { stalled, ..Server::bind(listen).await.unwrap() };
    let address = server.listener.local_addr().unwrap();
    tokio::spawn(server.run(routes, CancellationToken::new()));
    address
}

fn hello() -> Router {
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    Router::new().route("/", get(who))
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

/// All that comes until the end; nothing where the connection is reset.
async fn all(client: &mut (impl AsyncRead + Unpin)) -> String {
    String::from_utf8(all_bytes(client).await).unwrap()
}

async fn all_bytes(client: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = timeout(SOON, client.read_to_end(&mut answer)).await.expect("it ends in time");
    answer
}

const WHOLE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_route_knows_who_asks() {
    let address = serve(hello(), 9, STALLED).await;
    let mut client = send(address, WHOLE).await;
    let answer = all(&mut client).await;
    assert!(answer.ends_with(&client.local_addr().unwrap().to_string()), "{answer}");
}

#[tokio::test]
async fn clients_that_only_hold_connections_make_room_for_one_that_asks() {
    let address = serve(hello(), 3, STALLED).await;
    let mut trickling = Vec::new();
    for _ in 0..3 {
        trickling.push(send(address, "GET / HT").await);
    }
    let mut fillers = Vec::new();
    for pushed_out in &mut trickling {
        let answer = all(&mut send(address, WHOLE).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // The oldest goes first, once the room is needed.
        fillers.push(send(address, "GET / HT").await);
        assert_eq!(all(pushed_out).await, "");
    }
}

#[tokio::test]
async fn a_request_in_hand_is_not_pushed_out() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        async move || {
            begun.notify_one();
            go_on.notified().await;
            "done"
        }
    };
    let address = serve(Router::new().route("/", get(slow)), 1, STALLED).await;
    let mut first = send(address, WHOLE).await;
    begun.notified().await;
    assert_eq!(all(&mut send(address, WHOLE).await).await, "", "there is no room");
    go_on.notify_one();
    assert!(all(&mut first).await.ends_with("done"));
}

/// What tells that it has been let go.
struct Big(Vec<u8>, Option<oneshot::Sender<()>>);

impl AsRef<[u8]> for Big {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        let _ = self.1.take().map(|gone| gone.send(()));
    }
}

/// A route with a large answer, and when that is let go.
#[cfg(target_os = "linux")]
fn big() -> (Router, oneshot::Receiver<()>) {
    let (gone, goes) = oneshot::channel();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let big = async move || {
        let big = Big(vec![0; 64 << 20], gone.lock().unwrap().take());
        Body::from(Bytes::from_owner(big))
    };
    (Router::new().route("/", get(big)), goes)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_that_is_not_read_is_let_go() {
    let (routes, goes) = big();
    let address = serve(routes, 9, Duration::from_secs(1)).await;
    let _silent = send(address, WHOLE).await;
    timeout(SOON, goes).await.expect("it is let go in time").unwrap();
}

#[tokio::test]
async fn headers_have_a_bound() {
    let address = serve(hello(), 9, STALLED).await;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut client = TcpStream::connect(address).await.unwrap();
    // Cut off while it sends.
    let _ = client.write_all(long.as_bytes()).await;
    let answer = all(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}
