//! Reads one URL of `AMQP_URL`, with RabbitMQ's own query parameters for TLS. A parameter that is
//! not known is an error: a misspelt one would leave a link less safe than it looks.

use amq_protocol::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use std::{collections::BTreeMap, path::PathBuf};
use tls::{Files, Named};
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

pub const SCHEMES: [&str; 2] = ["amqp://", "amqps://"];
const TLS: [&str; 5] = ["cacertfile", "certfile", "keyfile", "server_name_indication", "verify"];
const OTHERS: [&str; 5] =
    ["auth_mechanism", "channel_max", "connection_timeout", "frame_max", "heartbeat"];

#[derive(Clone, Debug)]
pub struct Address {
    pub uri: AMQPUri,
    pub tls: Option<Tls>,
}

/// An encrypted link.
#[derive(Clone, Debug)]
pub struct Tls {
    pub files: Files,
    /// In the broker's certificate.
    pub name: ServerName<'static>,
}

impl Address {
    pub fn read(text: &str) -> Result<Self, String> {
        // The parser's reason for refusing another beginning has the whole URL in it.
        if !SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Err("it does not begin with amqp:// or amqps://".into());
        }
        let mut uri: AMQPUri = text.parse()?;
        let url = Url::parse(text).map_err(|why| why.to_string())?;
        // The parser has no other host than a name.
        if let Some(Host::Ipv6(address)) = url.host() {
            uri.authority.host = address.to_string();
        }
        let mut said = parameters(&url)?;
        if uri.scheme == AMQPScheme::AMQP {
            if let Some(name) = TLS.into_iter().find(|name| said.contains_key(*name)) {
                return Err(format!("{name} is for amqps://, and this URL is amqp://"));
            }
            if uri.query.auth_mechanism == Some(SASLMechanism::External) {
                return Err("auth_mechanism=external needs amqps:// and a certificate".into());
            }
            return Ok(Self { uri, tls: None });
        }
        if let Some(verify) = said.remove("verify")
            && verify != "verify_peer"
        {
            return Err(format!(
                "verify={verify}: the broker is always verified; name its authority in cacertfile"
            ));
        }
        let mut file =
            |setting| said.remove(setting).map(|path| Named { setting, path: PathBuf::from(path) });
        let (authorities, certificate, key) =
            (file("cacertfile"), file("certfile"), file("keyfile"));
        let own = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("certfile is of no use without keyfile".into()),
            (None, Some(_)) => return Err("keyfile is of no use without certfile".into()),
        };
        if uri.query.auth_mechanism == Some(SASLMechanism::External) {
            if own.is_none() {
                return Err("auth_mechanism=external logs in by a certificate: name its files in \
                            certfile and keyfile"
                    .into());
            }
            // Its name is in the certificate.
            if url.username().is_empty() {
                uri.authority.userinfo.username.clear();
            }
        }
        let name = said.remove("server_name_indication");
        let name = name.unwrap_or_else(|| uri.authority.host.clone());
        let name = ServerName::try_from(name.clone())
            .map_err(|_| format!("{name} is no name that a certificate can have"))?;
        let files = Files { authorities, own, settings: ["cacertfile", "certfile", "keyfile"] };
        Ok(Self { uri, tls: Some(Tls { files, name }) })
    }
}

/// Each of them once.
fn parameters(url: &Url) -> Result<BTreeMap<String, String>, String> {
    let mut said = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        if !TLS.iter().chain(&OTHERS).any(|known| *known == name) {
            let known = [TLS, OTHERS].concat().join(", ");
            return Err(format!("the parameter {name} is not known; known are {known}"));
        }
        if said.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(format!("the parameter {name} stands there twice"));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Address::read(url).unwrap_err()
    }

    #[test]
    fn one_url_says_it_all() {
        let url = "amqps://10.0.0.7/%2f?cacertfile=/tls/ca.pem&certfile=/tls/tls.crt\
                   &keyfile=/tls/tls.key&server_name_indication=broker.shop\
                   &auth_mechanism=external";
        let Address { uri, tls } = Address::read(url).unwrap();
        let tls = tls.unwrap();
        let own = tls.files.own.unwrap();
        assert_eq!(tls.files.authorities.unwrap().to_string(), "cacertfile=/tls/ca.pem");
        assert_eq!(own.0.to_string(), "certfile=/tls/tls.crt");
        assert_eq!(own.1.to_string(), "keyfile=/tls/tls.key");
        assert_eq!(tls.name.to_str(), "broker.shop");
        assert_eq!((uri.authority.port, &*uri.authority.userinfo.username), (5671, ""));
    }

    #[test]
    fn without_parameters_the_host_is_verified() {
        for (url, name) in [
            ("amqps://broker/%2f", "broker"),
            ("amqps://127.0.0.1/%2f?verify=verify_peer", "127.0.0.1"),
            ("amqps://[::1]/%2f", "::1"),
        ] {
            let tls = Address::read(url).unwrap().tls.unwrap();
            assert_eq!((&*tls.name.to_str(), tls.files.authorities), (name, None), "{url}");
        }
        assert!(Address::read("amqp://broker/%2f?heartbeat=3").unwrap().tls.is_none());
    }

    #[test]
    fn what_would_be_less_safe_than_it_looks_is_refused() {
        for (url, told) in [
            ("amqps://one/%2f?cacertfiel=ca.pem", "the parameter cacertfiel is not known"),
            ("amqps://one/%2f?cacertfile=a&cacertfile=b", "cacertfile stands there twice"),
            ("amqps://one/%2f?verify=verify_none", "the broker is always verified"),
            ("amqp://one/%2f?cacertfile=ca.pem", "cacertfile is for amqps://"),
            ("amqp://one/%2f?auth_mechanism=external", "needs amqps://"),
            ("amqps://one/%2f?auth_mechanism=external", "certfile and keyfile"),
            ("amqps://one/%2f?auth_mechanism=wish", "wish"),
            ("amqps://one/%2f?certfile=own.pem", "certfile is of no use without keyfile"),
            ("amqps://one/%2f?keyfile=own.key", "keyfile is of no use without certfile"),
            ("amqps://one/%2f?server_name_indication=not%20a%20name", "no name that a certificate"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(told), "{url}: {refusal}");
        }
    }
}
