//! Makes the connections: TCP, and TLS where the address says https. Any failure of it happens
//! before the request is sent.

use crate::Roots;
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
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, crypto::ring, pki_types::ServerName},
};
use tokio_util::either::Either;
use tower_service::Service;

#[derive(Clone, Debug)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    /// What the certificates come from.
    source: Arc<str>,
    limit: Duration,
}

impl Connector {
    pub fn new(roots: &Roots, limit: Duration) -> anyhow::Result<Self> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.store.clone())
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), source: roots.source.as_str().into(), limit })
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
        let encrypted = TlsConnector::from(self.tls.clone()).connect(name, socket).await;
        encrypted.map_err(|why| {
            let reason = match why.to_string() {
                why if why.contains("InvalidContentType") => {
                    "the server does not speak TLS on this port".into()
                }
                why => format!("{why} (verified by {})", self.source),
            };
            io::Error::other(format!("no TLS with {host}: {reason}"))
        })
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
