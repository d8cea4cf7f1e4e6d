//! Reads from `DATABASE_URL` how its links are encrypted, by libpq's parameters, and says of one
//! that failed which of them or which file to look at. A parameter that is not known is an error: a
//! misspelt one would leave a link less safe than it looks.

use sqlx::{Error, postgres::PgSslMode as Mode};
use sqlx_core::{Url, net::tls::CertificateInput as Input};
use std::{env, io::ErrorKind, path::PathBuf};
use tls::{Files, Named};

/// By the names that sqlx has for each, libpq's first, and libpq's variable.
const AUTHORITIES: ([&str; 3], &str) =
    (["sslrootcert", "ssl-root-cert", "ssl-ca"], "PGSSLROOTCERT");
const CERTIFICATE: ([&str; 3], &str) = (["sslcert", "ssl-cert", "sslcert"], "PGSSLCERT");
const KEY: ([&str; 3], &str) = (["sslkey", "ssl-key", "sslkey"], "PGSSLKEY");
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];

pub const NOT_OFFERED: &str = "the server does not offer TLS";
const REMEDY: &str = "connect by a name that it has";

#[derive(Clone)]
pub struct Encryption {
    pub mode: Mode,
    pub authorities: Option<Input>,
    pub certificate: Option<Input>,
    pub key: Option<Input>,
}

impl Encryption {
    pub fn read(url: &Url, mode: Mode) -> Result<Self, Error> {
        let [authorities, certificate, key] =
            [AUTHORITIES, CERTIFICATE, KEY].map(|(names, variable)| {
                let named = url.query_pairs().find(|(key, _)| names.contains(&&**key));
                let value = named.map(|(_, value)| value.into_owned());
                value.or_else(|| env::var(variable).ok()).map(Input::from)
            });
        let known = [&MODE[..], &AUTHORITIES.0, &CERTIFICATE.0, &KEY.0].concat();
        let unknown = url.query_pairs().find(|(name, _)| {
            name.to_ascii_lowercase().starts_with("ssl") && !known.contains(&&**name)
        });
        let invalid = |why: String| Err(Error::Configuration(why.into()));
        if let Some((name, _)) = unknown {
            let known = "sslmode, sslrootcert, sslcert and sslkey";
            return invalid(format!("the parameter {name} is not known; known are {known}"));
        }
        match (&certificate, &key) {
            (Some(_), None) => return invalid("sslcert is of no use without sslkey".into()),
            (None, Some(_)) => return invalid("sslkey is of no use without sslcert".into()),
            _ => {}
        }
        // As in libpq; sqlx would not look at the file.
        let mode = match mode {
            Mode::Require if authorities.is_some() => Mode::VerifyCa,
            mode => mode,
        };
        Ok(Self { mode, authorities, certificate, key })
    }

    /// `server` is its name in a message.
    pub fn explained(&self, server: &str, why: Error) -> Error {
        if matches!(self.mode, Mode::Disable | Mode::Allow | Mode::Prefer)
            || matches!(&why, Error::Io(why) if why.kind() == ErrorKind::ConnectionRefused)
            || why.as_database_error().is_some()
        {
            return why;
        }
        self.cause(server, &why).map_or(why, |told| Error::Tls(told.into()))
    }

    fn cause(&self, server: &str, why: &Error) -> Option<String> {
        let files = self.files();
        if let Some(Err(why)) = files.as_ref().map(Files::config) {
            return Some(why.to_string());
        }
        match why {
            Error::Io(why) => {
                let files = files.unwrap_or_default();
                files.explain(server, REMEDY, why).or_else(|| files.ended(server, why))
            }
            // In sqlx's words, or in ours.
            Error::Tls(why)
                if ["server does not support TLS", NOT_OFFERED].contains(&&*why.to_string()) =>
            {
                Some(format!(
                    "{server} does not offer TLS, which sslmode asks for: set `ssl = on` there"
                ))
            }
            _ => None,
        }
    }

    /// None where one of them stands in the URL itself.
    fn files(&self) -> Option<Files> {
        let named = |setting, input: &Option<Input>| match input {
            None => Some(None),
            Some(Input::File(path)) => Some(Some(Named { setting, path: PathBuf::from(path) })),
            Some(Input::Inline(_)) => None,
        };
        let own = named("sslcert", &self.certificate)?.zip(named("sslkey", &self.key)?);
        let authorities = named("sslrootcert", &self.authorities)?;
        Some(Files { authorities, own, settings: ["sslrootcert", "sslcert", "sslkey"] })
    }
}
