//! Opens the sockets to the broker, which detect a dead peer. Under lapin, one passes on only bytes
//! that lapin can read.

use super::{brokers::Node, errors::explain, frames::Frames, maybe_tls::MaybeTls};
use crate::BrokerError;
use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures::{AsyncRead, AsyncWrite, Stream};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use socket2::{SockRef, TcpKeepalive};
use std::{
    future::ready,
    io::{self, Read, Write},
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// A peer that answers nothing for so long has gone.
#[cfg(target_os = "linux")]
const GONE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const READ_MAX: usize = 16 * 1024;

/// Connects; the caller bounds the wait.
pub async fn connect(
    node: &Node,
    properties: ConnectionProperties,
    body_max: Option<usize>,
) -> Result<Connection, BrokerError> {
    let opened =
        Mutex::new(Some(open(node, Frames::new(body_max)).await.map_err(BrokerError::away)?));
    let once = async move |_, _| {
        let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(AsyncTcpStream::Plain(opened.ok_or_else(not_asked_for)?))
    };
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), Guarding(tokio)));
    let connected = Connection::connector(node.uri.clone(), runtime, once, properties).await;
    connected.map_err(|why| explain(&why))
}

async fn open(node: &Node, frames: Frames) -> io::Result<Guarded> {
    let stream = socket(node).await?.compat();
    Ok(Guarded { stream, frames, readable: Vec::new(), given: 0 })
}

pub async fn socket(node: &Node) -> io::Result<MaybeTls> {
    let socket = TcpStream::connect(node.address).await?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(PROBE_EVERY).with_interval(PROBE_EVERY).with_retries(2),
    )?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(GONE_AFTER))?;
    MaybeTls::over(socket, node.tls.clone(), node.name()).await
}

pub struct Guarded {
    stream: Compat<MaybeTls>,
    frames: Frames,
    /// The bytes for lapin, and how many of them lapin has read.
    readable: Vec<u8>,
    given: usize,
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        wanted: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.given == this.readable.len() {
            this.readable.clear();
            this.given = 0;
            let mut raw = [0; READ_MAX];
            match std::task::ready!(Pin::new(&mut this.stream).poll_read(context, &mut raw))? {
                0 => return Poll::Ready(Ok(0)),
                read => this.frames.push(&raw[..read], &mut this.readable),
            }
        }
        let ready = &this.readable[this.given..];
        let count = ready.len().min(wanted.len());
        wanted[..count].copy_from_slice(&ready[..count]);
        this.given += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// tokio's reactor, except for the type of its streams.
#[derive(Clone, Debug)]
pub struct Guarding(Tokio);

impl Reactor for Guarding {
    type TcpStream = Guarded;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Guarded, _>(not_asked_for())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Guarded>> + Send + 'static {
        ready(Err(not_asked_for()))
    }
}

/// lapin connects only through `open`.
fn not_asked_for() -> io::Error {
    io::Error::other("only a connection that is guarded can be had")
}
