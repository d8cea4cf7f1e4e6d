//! A socket to the broker, plain or encrypted. Of what fails on it, it says which parameter of the
//! URL or which file to look at; in TLS 1.3 a refusal of our certificate comes only with the first
//! read.

use super::address::Tls;
use std::{
    io::{self, Error, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

const REMEDY: &str = "connect by a name that it has, or give one in server_name_indication";
/// A record of TLS that says why a handshake fails: type, major version.
const TLS_ALERT: [u8; 2] = [21, 3];

pub struct MaybeTls {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    tls: Option<Tls>,
    server: String,
    has_read: bool,
}

impl MaybeTls {
    /// `server` is its name in a message.
    pub async fn over(socket: TcpStream, tls: Option<Tls>, server: String) -> io::Result<Self> {
        let stream = match &tls {
            None => Either::Left(socket),
            Some(Tls { files, name }) => {
                let connector = TlsConnector::from(Arc::new(files.config()?));
                let connected = connector.connect(name.clone(), socket).await;
                Either::Right(connected.map_err(|why| explained(&tls, &server, why))?)
            }
        };
        Ok(Self { stream, tls, server, has_read: false })
    }
}

fn explained(tls: &Option<Tls>, server: &str, why: Error) -> Error {
    let told = tls.as_ref().and_then(|tls| tls.files.explain(server, REMEDY, &why));
    told.map_or(why, Error::other)
}

impl MaybeTls {
    /// Of reading and writing.
    fn failed(&self, why: Error) -> Error {
        let why = explained(&self.tls, &self.server, why);
        let login = self.tls.as_ref().filter(|_| !self.has_read);
        let told = login.and_then(|tls| tls.files.ended(&self.server, &why));
        told.map_or(why, Error::other)
    }
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = read.filled().len();
        let result = ready!(Pin::new(&mut this.stream).poll_read(context, read));
        let is_first = !this.has_read;
        this.has_read |= read.filled().len() > before;
        if is_first && this.tls.is_none() && read.filled()[before..].starts_with(&TLS_ALERT) {
            let server = &this.server;
            let why =
                format!("{server} speaks TLS on this port: write amqps:// instead of amqp://");
            return Poll::Ready(Err(Error::other(why)));
        }
        Poll::Ready(result.map_err(|why| this.failed(why)))
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(written.map_err(|why| self.failed(why)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, bytes));
        Poll::Ready(written.map_err(|why| self.failed(why)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(flushed.map_err(|why| self.failed(why)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
