//! Holds the server's certificate, and reads it again when its files change. A pair that cannot be
//! used leaves the last one in use.

use anyhow::Result;
use https::{Bytes, Files, Pair};
use messaging::{Env, SystemEnv};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use telemetry::metrics::CERTIFICATE_EXPIRES;
use tokio::time::sleep;
use tokio_rustls::rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

pub const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What the files held, and what was said about it.
pub struct Seen {
    used: Bytes,
    broken: Option<Bytes>,
    is_told: bool,
}

impl Certificate {
    /// With what the files held.
    pub fn read(files: Files) -> Result<(Arc<Self>, Bytes)> {
        let bytes = files.read();
        let pair = files.parse(&bytes, now_s())?;
        CERTIFICATE_EXPIRES.set(pair.expires_s as f64, []);
        Ok((Arc::new(Self { files, current: RwLock::new(pair.certified) }), bytes))
    }

    pub async fn keep_fresh(&self, used: Bytes, look_every: Duration) {
        let mut seen = Seen::of(used);
        loop {
            sleep(look_every).await;
            self.look(&mut seen);
        }
    }

    pub fn look(&self, seen: &mut Seen) {
        let bytes = self.files.read();
        if bytes == seen.used {
            seen.broken = None;
            return;
        }
        match self.files.parse(&bytes, now_s()) {
            Ok(pair) => {
                self.install(pair);
                *seen = Seen::of(bytes);
            }
            // The files may have been read between the writing of the one and of the other.
            Err(_) if seen.broken.as_ref() != Some(&bytes) => {
                seen.broken = Some(bytes);
                seen.is_told = false;
            }
            Err(why) if !seen.is_told => {
                seen.is_told = true;
                tracing::warn!(
                    "HTTPS keeps the last certificate, since the new one is bad: {why:#}"
                );
            }
            Err(_) => {}
        }
    }

    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn install(&self, Pair { certified, expires_s }: Pair) {
        CERTIFICATE_EXPIRES.set(expires_s as f64, []);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certified;
        let (_, file) = &self.files.certificate;
        tracing::info!("HTTPS uses the new certificate of {}", file.display());
    }
}

impl Seen {
    pub const fn of(used: Bytes) -> Self {
        Self { used, broken: None, is_told: false }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn now_s() -> u64 {
    SystemEnv.now().timestamp().try_into().unwrap_or_default()
}
