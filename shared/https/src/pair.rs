//! Reads a certificate and its key from files, with errors that name the file and its setting.

use crate::provider;
use anyhow::{Context, anyhow, ensure};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::rustls::{
    self,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, KeyUsage};

/// Each with the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub certificate: (&'static str, PathBuf),
    pub key: (&'static str, PathBuf),
}

/// What both files held at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    certificate: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
}

/// A certificate, with its chain, and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certified: Arc<CertifiedKey>,
    /// Seconds since 1970.
    pub expires_s: u64,
}

impl Files {
    pub fn read(&self) -> Bytes {
        let read = |path: &Path| fs::read(path).map_err(|why: io::Error| why.to_string());
        Bytes { certificate: read(&self.certificate.1), key: read(&self.key.1) }
    }

    fn check_both_are_set(&self) -> anyhow::Result<()> {
        for ((set, path), (other, _)) in
            [(&self.certificate, &self.key), (&self.key, &self.certificate)]
        {
            let is_set = !path.as_os_str().is_empty();
            ensure!(is_set, "{other} is set and {set} is not: set both, or neither");
        }
        Ok(())
    }

    /// Parses what was read, and checks that it is usable now, in seconds since 1970.
    pub fn parse(&self, bytes: &Bytes, now_s: u64) -> anyhow::Result<Pair> {
        self.check_both_are_set()?;
        let Self { certificate: (certificate_setting, certificate), key: (key_setting, key) } =
            self;
        let (certificate, key) = (
            format!("{}, set in {certificate_setting}", certificate.display()),
            format!("{}, set in {key_setting}", key.display()),
        );
        let held = |file: &Result<Vec<u8>, String>, shown: &str| {
            file.clone().map_err(|why| anyhow!("cannot read {shown}: {why}"))
        };
        let (certificate_pem, key_pem) =
            (held(&bytes.certificate, &certificate)?, held(&bytes.key, &key)?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate_pem)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{certificate} does not hold certificates in PEM"))?;
        let leaf = chain.first();
        let leaf = leaf.with_context(|| format!("{certificate} holds no certificate in PEM"))?;
        let (begins_s, expires_s) = validity(leaf)
            .with_context(|| format!("{certificate} does not hold an X.509 certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|why| anyhow!("{key} holds no private key in PEM: {why}"))?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|why| {
            let why = match why {
                rustls::Error::InconsistentKeys(_) => {
                    format!("does not belong to the certificate in {certificate}")
                }
                why => format!("cannot be used: {why}"),
            };
            anyhow!("the key in {key} {why}")
        })?;
        ensure!(now_s <= expires_s, "the certificate in {certificate} has expired: renew it");
        ensure!(now_s >= begins_s, "the certificate in {certificate} is not valid yet");
        Ok(Pair { certified: Arc::new(certified), expires_s })
    }
}

/// From when to when, in seconds since 1970. The library tells each bound only as an error.
fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    /// The year 10000, which no certificate reaches.
    const NEVER_S: u64 = 253_402_300_800;
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
    };
    let begins_s = match at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
        _ => 0,
    };
    match at(NEVER_S) {
        Some(webpki::Error::CertExpired { not_after, .. }) => Some((begins_s, not_after.as_secs())),
        _ => None,
    }
}
