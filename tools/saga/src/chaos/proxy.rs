//! A link between two of the system's parts, of which this process holds both ends: it can be cut,
//! go silent, or be slow.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use servers::ports;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Whatever the server answers next is lost, and the connection is reset in its stead: what was
    /// asked for has been done, and who asked does not know.
    AnswersLost,
    /// Half-open: every byte is swallowed, and nobody is told.
    Silent,
    /// Each piece of data takes so long.
    Slow(Duration),
}

/// Ends, with all of its connections, when it is dropped.
pub struct Proxy {
    pub port: u16,
    weather: watch::Sender<Weather>,
    cut: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port, and hands each connection to the next of these that takes it.
    pub async fn start(upstream: Vec<u16>) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on port {port}"))?;
        let (weather, seen) = watch::channel(Weather::Clear);
        let cut = Arc::new(AtomicUsize::new(0));
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, upstream, seen, Arc::clone(&cut)));
        Ok(Self { port, weather, cut, _listening: listening })
    }

    /// A connection whose bytes were swallowed cannot be mended: it is reset when the silence ends.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections were reset so far.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

async fn listen(
    listener: TcpListener,
    upstream: Vec<u16>,
    weather: watch::Receiver<Weather>,
    cut: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    for first in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file handles, most likely: some will come back.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (upstream, weather, cut) = (upstream.clone(), weather.clone(), Arc::clone(&cut));
        connections.spawn(async move {
            match connected(&upstream, first).await {
                Some(server) => carry(client, server, weather, &cut).await,
                // As the server itself would refuse it.
                None => reset(&client),
            }
        });
    }
}

/// The first that takes the connection, each asked in its turn.
async fn connected(upstream: &[u16], first: usize) -> Option<TcpStream> {
    for turn in 0..upstream.len() {
        let port = upstream[(first + turn) % upstream.len()];
        if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            return Some(server);
        }
    }
    None
}

enum End {
    /// One side has said all it had to say.
    Closed,
    /// Something was lost on the way.
    Broken,
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    weather: watch::Receiver<Weather>,
    cut: &AtomicUsize,
) {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = pump(from_client, to_server, weather.clone(), false);
    let back = pump(from_server, to_client, weather, true);
    // Neither a database nor a broker nor HTTP goes on with a connection that is half closed.
    let end = tokio::select! {
        end = there => end,
        end = back => end,
    };
    if matches!(end, End::Broken) {
        cut.fetch_add(1, Ordering::Relaxed);
        reset(&client);
        reset(&server);
    }
}

/// Dropped, it sends a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    is_answer: bool,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length) = from.read(&mut buffer).await else { return End::Broken };
        let now = *weather.borrow();
        match now {
            Weather::AnswersLost if is_answer => return End::Broken,
            Weather::Silent => {
                // Nothing comes through any more, not even a farewell.
                let is_over = weather.wait_for(|now| *now != Weather::Silent).await;
                is_over.ok();
                return End::Broken;
            }
            Weather::Slow(delay) => sleep(delay).await,
            Weather::Clear | Weather::AnswersLost => {}
        }
        if length == 0 {
            return End::Closed;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return End::Broken;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::time::timeout;

    use super::*;

    /// Answers every piece of data with the same.
    async fn echo() -> u16 {
        let port = ports::free().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        port
    }

    async fn asked(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    async fn given() -> (Proxy, TcpStream) {
        // The first does not listen: it is passed over.
        let proxy = Proxy::start(vec![ports::free().unwrap(), echo().await]).await.unwrap();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        (proxy, stream)
    }

    #[tokio::test]
    async fn a_lost_answer_is_a_reset() {
        let (proxy, mut stream) = given().await;
        assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
        proxy.set(Weather::AnswersLost);
        assert_eq!(asked(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(proxy.cut(), 1);
    }

    #[tokio::test]
    async fn silence_is_told_to_nobody_until_it_is_over() {
        let (proxy, mut stream) = given().await;
        proxy.set(Weather::Silent);
        let waiting = timeout(Duration::from_millis(200), asked(&mut stream)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        proxy.set(Weather::Clear);
        assert_eq!(stream.read(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
    }

    #[tokio::test]
    async fn latency_delays_and_loses_nothing() {
        let (proxy, mut stream) = given().await;
        proxy.set(Weather::Slow(Duration::from_millis(50)));
        let started = std::time::Instant::now();
        assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
        assert!(started.elapsed() >= Duration::from_millis(100));
    }
}
