//! Serves a test's own routes by https, under an authority of their own.

use axum::Router;
use mock_gateway::tls::TlsListener;
use servers::certificates::Authority;
use std::{fs, path::PathBuf};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

pub struct HttpsServer {
    pub url: String,
    /// The authority's certificate.
    pub ca_file: PathBuf,
    listener: TlsListener,
}

impl HttpsServer {
    pub async fn bind() -> Self {
        let authority = Authority::new().expect("an authority is made");
        let signed = authority.server(&["127.0.0.1"], 1).expect("it signs");
        let ca_file = crate::folder().join("ca.pem");
        fs::write(&ca_file, authority.pem()).expect("it can be written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("it listens"));
        let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("a key");
        let listener = TlsListener::new(listener, vec![certificate.expect("it is one")], key);
        Self { url, ca_file, listener: listener.expect("they belong together") }
    }

    /// For as long as the test runs.
    pub fn serve(self, routes: Router) {
        tokio::spawn(async move { axum::serve(self.listener, routes).await });
    }
}
