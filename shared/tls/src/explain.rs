//! Says of a link that failed which file or setting to look at.

use super::Files;
use chrono::DateTime;
use std::io;
use tokio_rustls::rustls::{
    AlertDescription as Alert, CertificateError as Bad, Error, pki_types::UnixTime,
};

impl Files {
    /// `server` is the address, `name` the name that its certificate must have, and `remedy` how
    /// the name is set. `None` of an error that has nothing to do with TLS.
    pub fn explain(&self, server: &str, remedy: &str, why: &io::Error) -> Option<String> {
        Some(match why.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(why) => self.certificate(server, remedy, why),
            Error::AlertReceived(alert) => self.alert(server, *alert),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
                format!("{server} does not speak TLS on this port")
            }
            Error::PeerIncompatible(_) => {
                format!("{server} has no version of TLS in common with us (1.2 or 1.3): {why}")
            }
            other => format!("TLS to {server}: {other}"),
        })
    }

    /// Of a server that ended the connection before it said anything: one that refuses a
    /// certificate may close it before its reason is read. `None` of another error.
    pub fn ended(&self, server: &str, why: &io::Error) -> Option<String> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if ![BrokenPipe, ConnectionReset, UnexpectedEof].contains(&why.kind()) {
            return None;
        }
        let [_, certificate, key] = self.settings;
        Some(match &self.own {
            Some((own, _)) => format!(
                "{server} ended the login; perhaps it refuses our certificate, {own}: see its log"
            ),
            None => format!(
                "{server} ended the login; perhaps it wants a certificate of ours: name its files \
                 in {certificate} and {key}"
            ),
        })
    }

    fn certificate(&self, server: &str, remedy: &str, why: &Bad) -> String {
        match why {
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. } => {
                format!("the certificate of {server} {}: renew it there", validity(why))
            }
            Bad::UnknownIssuer | Bad::BadSignature => match &self.authorities {
                Some(named) => format!(
                    "the certificate of {server} is not from an authority of {named}: name the \
                     file of the one that issued it"
                ),
                None => format!(
                    "the certificate of {server} is not from an authority that this machine \
                     trusts: name the file of the one that issued it in {}",
                    self.settings[0]
                ),
            },
            Bad::NotValidForName => {
                format!("the certificate of {server} is for another name: {remedy}")
            }
            Bad::NotValidForNameContext { expected, presented } => format!(
                "the certificate of {server} is not for {}, but for {}: {remedy}",
                expected.to_str(),
                presented.join(", ")
            ),
            other => format!("the certificate of {server} is refused: {other}"),
        }
    }

    fn alert(&self, server: &str, alert: Alert) -> String {
        let [_, certificate, key] = self.settings;
        match (&self.own, alert) {
            (
                Some((own, _)),
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::DecryptError
                | Alert::AccessDenied
                | Alert::HandshakeFailure,
            ) => format!("{server} refuses our certificate, {own} ({alert:?})"),
            (
                None,
                Alert::CertificateRequired
                | Alert::NoCertificate
                | Alert::HandshakeFailure
                | Alert::BadCertificate,
            ) if !certificate.is_empty() => format!(
                "{server} wants a certificate of ours: name its files in {certificate} and {key}"
            ),
            _ => format!("{server} ends the TLS handshake ({alert:?})"),
        }
    }
}

/// Of a certificate: since when it is invalid, or until when.
pub fn validity(why: &Bad) -> String {
    match why {
        Bad::ExpiredContext { not_after, .. } => format!("has expired on {}", date(*not_after)),
        Bad::Expired => "has expired".to_owned(),
        Bad::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}, by this machine's clock", date(*not_before))
        }
        other => other.to_string(),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
