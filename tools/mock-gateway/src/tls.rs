//! Serves routes by https, on an address of its own.

use anyhow::{Context, Result, ensure};
use axum::serve::Listener;
use clap::Args;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

const HANDSHAKE_MAX: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub struct Tls {
    /// Where it listens for https as well
    #[arg(long, env = "MOCK_GATEWAY_TLS_ADDR", value_name = "MOCK_GATEWAY_TLS_ADDR")]
    tls_listen: Option<SocketAddr>,
    /// A file with its certificate and those of its authorities (PEM)
    #[arg(long, env = "MOCK_GATEWAY_TLS_CERT_FILE", value_name = "MOCK_GATEWAY_TLS_CERT_FILE")]
    tls_cert_file: Option<PathBuf>,
    /// A file with its key (PEM)
    #[arg(long, env = "MOCK_GATEWAY_TLS_KEY_FILE", value_name = "MOCK_GATEWAY_TLS_KEY_FILE")]
    tls_key_file: Option<PathBuf>,
}

pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// `None` if there is no address for it.
    pub async fn listen(&self) -> Result<Option<TlsListener>> {
        let Some(address) = self.tls_listen else { return Ok(None) };
        let (certificate, key) = self
            .tls_cert_file
            .as_ref()
            .zip(self.tls_key_file.as_ref())
            .context("MOCK_GATEWAY_TLS_CERT_FILE and MOCK_GATEWAY_TLS_KEY_FILE are not set")?;
        let certificates = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("no certificate in {}", certificate.display()))?;
        ensure!(!certificates.is_empty(), "no certificate in {}", certificate.display());
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("no key in {}", key.display()))?;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: free it, or set MOCK_GATEWAY_TLS_ADDR")
        })?;
        TlsListener::new(listener, certificates, key).map(Some)
    }
}

impl TlsListener {
    pub fn new(
        listener: TcpListener,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        Ok(Self { listener, acceptor: Arc::new(config).into() })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// A client that does not finish its handshake holds up the others for a moment only.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (socket, address) = Listener::accept(&mut self.listener).await;
            let encrypted = timeout(HANDSHAKE_MAX, self.acceptor.accept(socket)).await;
            if let Ok(Ok(stream)) = encrypted {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
