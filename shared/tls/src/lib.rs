#![doc = include_str!("../README.md")]

mod explain;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::WebPkiClientVerifier,
};

/// The files of one link, as a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The authorities of the server's certificate; otherwise the machine's.
    pub authorities: Option<Named>,
    /// Our certificate, where the server wants one, and its key.
    pub own: Option<(Named, Named)>,
    /// The names of the settings of all three; empty, if there is none.
    pub settings: [&'static str; 3],
}

/// A file, and the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub setting: &'static str,
    pub path: PathBuf,
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.setting, self.path.display())
    }
}

impl Named {
    fn read(&self) -> io::Result<Vec<u8>> {
        std::fs::read(&self.path).map_err(|why| {
            io::Error::new(why.kind(), format!("cannot read {self}: {}", reason(&why)))
        })
    }

    fn certificates(&self) -> io::Result<Vec<CertificateDer<'static>>> {
        let pem = self.read()?;
        let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|why| io::Error::other(format!("{self} is not PEM: {why}")))?;
        if found.is_empty() {
            return Err(io::Error::other(format!("{self} holds no certificate in PEM")));
        }
        Ok(found)
    }

    fn key(&self) -> io::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|why| {
            io::Error::other(match why {
                pem::Error::NoItemsFound => {
                    format!("{self} holds no private key in PEM; it must not be encrypted")
                }
                why => format!("{self} is not PEM: {why}"),
            })
        })
    }
}

/// Without the number of the error, which tells nothing more.
fn reason(why: &io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Files {
    /// For a server that wants no certificate of ours: `setting` names the authorities' file.
    pub fn of_authorities(setting: &'static str, path: Option<&Path>) -> Self {
        let authorities = path.map(|path| Named { setting, path: path.to_owned() });
        Self { authorities, own: None, settings: [setting, "", ""] }
    }

    /// The settings of a connection, as the files are now.
    pub fn config(&self) -> io::Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let roots = self.roots()?;
        let own = match &self.own {
            None => None,
            Some((certificate, key)) => {
                let chain = certificate.certificates()?;
                self.is_valid_now(certificate, &chain, &roots)?;
                Some((chain, key.key()?, format!("{certificate} and {key} do not belong together")))
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        Ok(match own {
            None => config.with_no_client_auth(),
            Some((chain, key, mismatch)) => {
                config.with_client_auth_cert(chain, key).map_err(|why| match why {
                    Error::InconsistentKeys(_) => io::Error::other(mismatch),
                    why => io::Error::other(why),
                })?
            }
        })
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(named) = &self.authorities {
            for authority in named.certificates()? {
                roots.add(authority).map_err(|why| {
                    io::Error::other(format!("{named} holds a certificate that is unusable: {why}"))
                })?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        for why in &found.errors {
            tracing::warn!("cannot read one of the machine's certificates: {why}");
        }
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(io::Error::other(
                "there is no certificate to verify the server by: name its authority's, or \
                 install Debian's package ca-certificates, or name a file in SSL_CERT_FILE",
            ));
        }
        Ok(roots)
    }

    /// Refuses a certificate of ours that has expired: not every server says why it refuses it.
    fn is_valid_now(
        &self,
        named: &Named,
        chain: &[CertificateDer<'_>],
        roots: &RootCertStore,
    ) -> io::Result<()> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone().into(), provider);
        let verifier = verifier.build().map_err(io::Error::other)?;
        let (own, intermediates) = chain.split_first().expect("it holds a certificate");
        match verifier.verify_client_cert(own, intermediates, UnixTime::now()) {
            Err(Error::InvalidCertificate(
                why @ (CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }),
            )) => Err(io::Error::other(format!("{named} {}", explain::validity(&why)))),
            // Its authority is for the server to know.
            _ => Ok(()),
        }
    }
}
