//! A link between two of the system's parts, of which this process holds both ends: it can be cut,
//! go silent for a while or for ever, or be slow.

use std::collections::BTreeSet;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What of a connection is swallowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallowed {
    Both,
    Requests,
    /// What is asked for is done, and who asked never knows.
    Answers,
}

impl Swallowed {
    pub const ALL: [Self; 3] = [Self::Both, Self::Requests, Self::Answers];

    pub const fn text(self) -> &'static str {
        match self {
            Self::Both => "both ways",
            Self::Requests => "on the way there",
            Self::Answers => "on the way back",
        }
    }
}

/// Connections with a lower number say nothing any more, by the direction.
#[derive(Clone, Copy, Debug, Default)]
struct Silenced {
    requests: usize,
    answers: usize,
}

/// Ends, with all of its connections, when it is dropped.
pub struct Proxy {
    pub port: u16,
    weather: watch::Sender<Weather>,
    cut: Arc<AtomicUsize>,
    silenced: watch::Sender<Silenced>,
    open: Open,
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
        let (silenced, silence) = watch::channel(Silenced::default());
        let (open, mut listening) = (Open::default(), JoinSet::new());
        let link = Link { weather: seen, silence, cut: Arc::clone(&cut), open: open.clone() };
        listening.spawn(listen(listener, upstream, link));
        Ok(Self { port, weather, cut, silenced, open, _listening: listening })
    }

    /// Every connection that there is says nothing any more, for ever: it stays open, and nobody
    /// resets it. New ones are as they should be. Returns how many these were.
    pub fn swallow(&self, what: Swallowed) -> usize {
        let (below, number) = self.open.leave();
        self.silenced.send_modify(|silenced| {
            if what != Swallowed::Answers {
                silenced.requests = below;
            }
            if what != Swallowed::Requests {
                silenced.answers = below;
            }
        });
        number
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

/// What a connection is subject to.
#[derive(Clone)]
struct Link {
    weather: watch::Receiver<Weather>,
    silence: watch::Receiver<Silenced>,
    cut: Arc<AtomicUsize>,
    open: Open,
}

/// The connections that there are and that still say something, by number.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<(usize, BTreeSet<usize>)>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, (usize, BTreeSet<usize>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> usize {
        let (next, open) = &mut *self.lock();
        open.insert(*next);
        *next += 1;
        *next - 1
    }

    /// All of them; the next will have this number, and so many have left.
    fn leave(&self) -> (usize, usize) {
        let (next, open) = &mut *self.lock();
        (*next, std::mem::take(open).len())
    }
}

async fn listen(listener: TcpListener, upstream: Vec<u16>, link: Link) {
    let mut connections = JoinSet::new();
    for first in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file handles, most likely: some will come back.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (upstream, link) = (upstream.clone(), link.clone());
        connections.spawn(async move {
            match connected(&upstream, first).await {
                Some(server) => {
                    let number = link.open.enter();
                    carry(client, server, &link, number).await;
                    link.open.lock().1.remove(&number);
                }
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

async fn carry(mut client: TcpStream, mut server: TcpStream, link: &Link, number: usize) {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = |silenced: &Silenced| number < silenced.requests;
    let answers = |silenced: &Silenced| number < silenced.answers;
    let there =
        unless_silenced(link, requests, |weather| pump(from_client, to_server, weather, false));
    let back =
        unless_silenced(link, answers, |weather| pump(from_server, to_client, weather, true));
    // Neither a database nor a broker nor HTTP goes on with a connection that is half closed.
    let end = tokio::select! {
        end = there => end,
        end = back => end,
    };
    if matches!(end, End::Broken) {
        link.cut.fetch_add(1, Ordering::Relaxed);
        reset(&client);
        reset(&server);
    }
}

/// Once it is silenced, it never ends: what one side still says stays where it is, and that it has
/// closed the connection is told to nobody.
async fn unless_silenced<F: Future<Output = End>>(
    link: &Link,
    is_silenced: impl Fn(&Silenced) -> bool,
    pump: impl FnOnce(watch::Receiver<Weather>) -> F,
) -> End {
    let mut silence = link.silence.clone();
    // What it returns holds a lock.
    let silenced = async { silence.wait_for(is_silenced).await.map(drop) };
    tokio::select! {
        biased;
        _ = silenced => pending().await,
        end = pump(link.weather.clone()) => end,
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
    async fn what_is_swallowed_stays_so_for_ever_and_new_connections_work() {
        for what in Swallowed::ALL {
            let (proxy, mut stream) = given().await;
            assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
            assert_eq!(proxy.swallow(what), 1, "{what:?}");
            let waiting = timeout(Duration::from_millis(200), asked(&mut stream)).await;
            assert!(waiting.is_err(), "{what:?}: {waiting:?}");
            proxy.set(Weather::Clear);
            let mut new = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
            assert_eq!(&asked(&mut new).await.unwrap(), b"ping");
            let waiting = timeout(Duration::from_millis(200), stream.read(&mut [0; 4])).await;
            assert!(waiting.is_err(), "{what:?}: {waiting:?}");
            assert_eq!((proxy.cut(), proxy.swallow(what)), (0, 1), "{what:?}");
        }
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
