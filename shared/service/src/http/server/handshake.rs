//! Begins TLS on a connection; a client that speaks plain HTTP gets an answer in plain HTTP.

use super::{BUFFER_MAX, HEADERS_WITHIN, certificate::Certificate};
use crate::http::Problem;
use std::{io, sync::Arc, time::Duration};
use telemetry::metrics::REFUSED_CONNECTIONS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
    server::TlsStream,
};

const HTTP_2: &[u8] = b"h2";
/// The first byte of TLS.
const HANDSHAKE: u8 = 0x16;
/// What a client sends before it reads the answer is read to its end, so that no reset overtakes
/// the answer.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    pub within: Duration,
}

enum Refusal {
    PlainHttp,
    Broken,
}

impl Tls {
    pub fn new(certificate: Arc<Certificate>) -> anyhow::Result<Self> {
        let mut config = ServerConfig::builder_with_provider(https::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), within: HEADERS_WITHIN })
    }

    /// `None` where the client does not begin TLS in time.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let reason = match timeout(self.within, self.begin(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(Refusal::PlainHttp)) => "plain-http",
            Ok(Err(Refusal::Broken)) => "handshake",
            Err(_) => "handshake-timeout",
        };
        REFUSED_CONNECTIONS.add(1, [reason]);
        None
    }

    async fn begin(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
        let mut first = [0];
        let length = stream.peek(&mut first).await.map_err(|_| Refusal::Broken)?;
        if length == 1 && first[0] != HANDSHAKE {
            let _ = timeout(LINGER, answer(stream)).await;
            return Err(Refusal::PlainHttp);
        }
        let bounded = |session: &mut tokio_rustls::rustls::ServerConnection| {
            session.set_buffer_limit(Some(BUFFER_MAX));
        };
        self.acceptor.accept_with(stream, bounded).await.map_err(|_| Refusal::Broken)
    }
}

/// Whether the client has asked for it.
pub fn is_http_2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::plain_http();
    let (status, body) = (problem.status(), problem.text());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
