#![doc = include_str!("../README.md")]

mod pair;

use anyhow::{Context, ensure};
use reqwest::{Certificate, Client, ClientBuilder};
use std::{
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

pub use pair::{Bytes, Files, Pair};

/// The implementation of cryptography; the process's default from now on, as reqwest needs.
pub fn provider() -> Arc<CryptoProvider> {
    static RING: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        // Another part of the process may have installed the same one.
        let _ = ring::default_provider().install_default();
        Arc::new(ring::default_provider())
    });
    RING.clone()
}

/// A client for plain HTTP. It loads no authorities, and so trusts no https server.
pub fn plain() -> ClientBuilder {
    trusting_the_machine().tls_certs_only([])
}

/// A client for this address: where it is https, one that trusts the authorities of the file alone,
/// or those of the machine.
pub fn client(url: &str, ca_file: Option<&Path>) -> anyhow::Result<ClientBuilder> {
    let Some(path) = ca_file else {
        return Ok(if url.starts_with("https:") { trusting_the_machine() } else { plain() });
    };
    let shown = path.display();
    let text = fs::read(path).with_context(|| format!("cannot read the authorities in {shown}"))?;
    let authorities = Certificate::from_pem_bundle(&text)
        .with_context(|| format!("{shown} does not hold certificates in PEM"))?;
    ensure!(!authorities.is_empty(), "{shown} does not hold a certificate in PEM");
    Ok(plain().tls_certs_only(authorities))
}

fn trusting_the_machine() -> ClientBuilder {
    provider();
    #[expect(clippy::disallowed_methods, reason = "the provider is installed")]
    Client::builder()
}

#[cfg(test)]
mod tests;
