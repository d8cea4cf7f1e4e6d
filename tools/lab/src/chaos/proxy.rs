//! A TCP proxy between two parts of the system: the link can be cut, silenced for a while or for
//! ever, or slowed.

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
    /// The server's next answer is lost, and the connection is reset instead: the request has taken
    /// effect, and the client does not know.
    AnswersLost,
    /// Half-open: every byte is lost, without an error.
    Silent,
    /// Each piece of data is delayed.
    Slow(Duration),
}

/// The directions of a connection that are silenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallowed {
    Both,
    Requests,
    /// The request takes effect, and the client never knows.
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

/// Connections with a lower number are silent, by direction.
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
    /// Listens on a free port, and gives each connection to the next of these targets that accepts
    /// it.
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

    /// Silences every open connection for ever: it stays open, and is not reset. New ones work.
    /// Returns the number of silenced connections.
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

    /// A connection whose bytes were lost cannot be repaired: it is reset when the silence ends.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections were reset so far.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}

/// The faults that affect a connection.
#[derive(Clone)]
struct Link {
    weather: watch::Receiver<Weather>,
    silence: watch::Receiver<Silenced>,
    cut: Arc<AtomicUsize>,
    open: Open,
}

/// The open connections that are not silenced, by number.
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

    /// All of them; the next connection gets this number, and this many have closed.
    fn leave(&self) -> (usize, usize) {
        let (next, open) = &mut *self.lock();
        (*next, std::mem::take(open).len())
    }
}

async fn listen(listener: TcpListener, upstream: Vec<u16>, link: Link) {
    let mut connections = JoinSet::new();
    for first in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file handles, most likely: some will be closed.
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
                // Refused, as by the server itself.
                None => reset(&client),
            }
        });
    }
}

/// The first target that accepts the connection, each tried in turn.
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
    /// One side has sent everything.
    Closed,
    /// Data was lost on the way.
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

/// A silenced connection never ends: data from one side is dropped, and its close is not passed on.
async fn unless_silenced<F: Future<Output = End>>(
    link: &Link,
    is_silenced: impl Fn(&Silenced) -> bool,
    pump: impl FnOnce(watch::Receiver<Weather>) -> F,
) -> End {
    let mut silence = link.silence.clone();
    // The returned value holds a lock.
    let silenced = async { silence.wait_for(is_silenced).await.map(drop) };
    tokio::select! {
        biased;
        _ = silenced => pending().await,
        end = pump(link.weather.clone()) => end,
    }
}

/// When dropped, it resets the connection instead of closing it.
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
                // Nothing passes any more, not even a close.
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
mod tests;
