//! Records what crosses the link to a server, as one does who listens on the wire.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The bytes of each connection in one direction.
type Heard = Arc<Mutex<Vec<u8>>>;

/// Ends when it is dropped.
pub struct Recorder {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    _accepting: JoinSet<()>,
}

impl Recorder {
    /// Before the server of this URL, with any scheme.
    pub async fn before(url: &str) -> Self {
        let server = host_and_port(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, mut accepting) = (heard.clone(), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                let both = [Heard::default(), Heard::default()];
                all.lock().expect("nobody panics with it").extend(both.clone());
                connections.spawn(carry(client, server.clone(), both));
            }
        });
        Self { address, heard, _accepting: accepting }
    }

    /// The same URL through this recorder.
    pub fn url(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &self.address.to_string(), 1)
    }

    /// Whether these bytes have crossed the link in the clear.
    pub fn has_heard(&self, bytes: &[u8]) -> bool {
        let all = self.heard.lock().expect("nobody panics with it");
        all.iter().any(|heard| {
            let heard = heard.lock().expect("nobody panics with it");
            heard.windows(bytes.len()).any(|part| part == bytes)
        })
    }

    /// How many bytes have crossed it.
    pub fn length(&self) -> usize {
        let all = self.heard.lock().expect("nobody panics with it");
        all.iter().map(|heard| heard.lock().expect("nobody panics with it").len()).sum()
    }
}

async fn carry(mut client: TcpStream, server: String, [up, down]: [Heard; 2]) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    // Either end closes both.
    tokio::select! {
        _ = record(from_client, to_server, &up) => {}
        _ = record(from_server, to_client, &down) => {}
    }
}

async fn record(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        heard.lock().expect("nobody panics with it").extend(&bytes[..read]);
        to.write_all(&bytes[..read]).await?;
    }
}

fn host_and_port(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}
