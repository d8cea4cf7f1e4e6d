//! Chooses the certificates that servers are verified by: those of one file, or the machine's.

use anyhow::{Context, ensure};
use std::path::Path;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

#[derive(Clone, Debug)]
pub struct Roots {
    pub(crate) store: RootCertStore,
    /// For messages.
    pub(crate) source: String,
}

impl Roots {
    /// Those of this file alone, which the variable `name` names; without one, the machine's.
    pub fn of(name: &str, file: Option<&Path>) -> anyhow::Result<Self> {
        file.map_or_else(|| Ok(Self::machine(name)), |file| Self::file(name, file))
    }

    /// For a server that is called by http.
    pub fn none() -> Self {
        Self { store: RootCertStore::empty(), source: "no certificates".into() }
    }

    fn file(name: &str, file: &Path) -> anyhow::Result<Self> {
        let source = format!("{name}={}", file.display());
        let advice = || format!("{source} is not a file of PEM certificates");
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).with_context(advice)? {
            store.add(certificate.with_context(advice)?).with_context(advice)?;
        }
        ensure!(!store.is_empty(), "{}: it has none", advice());
        Ok(Self { store, source })
    }

    /// A machine without certificates can still call by http.
    fn machine(name: &str) -> Self {
        let found = rustls_native_certs::load_native_certs();
        for why in &found.errors {
            tracing::warn!("cannot read a certificate of this machine: {why}");
        }
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        Self { store, source: format!("this machine's certificates, or set {name}") }
    }
}
