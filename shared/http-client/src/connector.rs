//! Makes the connections: TCP, and TLS where the address says https. Any failure of it happens
//! before the request is sent.

use futures::{FutureExt, future::BoxFuture};
use hyper::http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tls::Files;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::either::Either;
use tower_service::Service;

const REMEDY: &str = "call it by a name that it has";

#[derive(Clone, Debug)]
pub struct Connector {
    /// None for servers that are called by http.
    tls: Option<(Arc<ClientConfig>, Files)>,
    limit: Duration,
}

impl Connector {
    pub fn new(authorities: Option<Files>, limit: Duration) -> io::Result<Self> {
        let tls = authorities.map(|files| Ok::<_, io::Error>((Arc::new(files.config()?), files)));
        Ok(Self { tls: tls.transpose()?, limit })
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        // An IPv6 address is in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let stream = match is_https {
            false => Either::Left(socket),
            true => Either::Right(Box::new(self.encrypt(socket, host).await?)),
        };
        Ok(TokioIo::new(Stream(stream)))
    }

    async fn encrypt(&self, socket: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let no_authorities = || io::Error::other("this client has no authorities for https");
        let (config, files) = self.tls.as_ref().ok_or_else(no_authorities)?;
        let encrypted = TlsConnector::from(config.clone()).connect(name, socket).await;
        encrypted.map_err(|why| files.explain(host, REMEDY, &why).map_or(why, io::Error::other))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, connector) = (self.limit, self.clone());
        let late = move |_| {
            let why = format!("no connection within {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        };
        async move { timeout(limit, connector.connect(uri)).await.unwrap_or_else(late) }.boxed()
    }
}

pub struct Stream(Either<TcpStream, Box<TlsStream<TcpStream>>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, read)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
