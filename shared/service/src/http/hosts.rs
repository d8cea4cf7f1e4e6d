//! Answers only under the service's own names: a foreign page whose name resolves to this server
//! must not act as ours (DNS rebinding).

use super::problem::Problem;
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Version, header, uri::Authority},
};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Names that are ours, besides localhost and addresses: a foreign name is never an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// In lower case; one that begins with a dot is for all names below it.
    names: Vec<String>,
    any: bool,
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut hosts = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let below = name.strip_prefix('*');
            let name = below.unwrap_or(name).to_ascii_lowercase();
            if below == Some("") {
                hosts.any = true;
            } else if is_name(name.strip_prefix('.').unwrap_or(&name))
                && name.starts_with('.') == below.is_some()
            {
                hosts.names.push(name);
            } else {
                return Err(format!(
                    "{name:?} is no host name; without scheme and port, like shop.example"
                ));
            }
        }
        Ok(hosts)
    }
}

fn is_name(text: &str) -> bool {
    let is_fit = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_fit)
}

impl Hosts {
    /// Checks that the request is for one of them.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        match named(request) {
            Named::Nothing if request.version() < Version::HTTP_11 => Ok(()),
            Named::Host(host) if self.admit(host.host()) => Ok(()),
            Named::Host(_) => Err(Problem::not_our_host()),
            Named::Nothing | Named::Nonsense => Err(Problem::no_host()),
        }
    }

    fn admit(&self, host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_below = |all: &str| name.len() > all.len() && name.ends_with(all);
        self.any
            || is_address(&name)
            || name == "localhost"
            || is_below(".localhost")
            || self.names.iter().any(|own| match own.starts_with('.') {
                true => is_below(own),
                false => *own == name,
            })
    }
}

fn is_address(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.map_or_else(
        || name.parse::<Ipv4Addr>().is_ok(),
        |address| address.parse::<Ipv6Addr>().is_ok(),
    )
}

enum Named {
    Host(Authority),
    Nothing,
    Nonsense,
}

/// An absolute address in the request line has precedence over the header.
fn named(request: &Request) -> Named {
    if let Some(authority) = request.uri().authority() {
        return Named::Host(authority.clone());
    }
    let mut values = request.headers().get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => Named::Nothing,
        (Some(value), None) => authority(value).map_or(Named::Nonsense, Named::Host),
        (Some(_), Some(_)) => Named::Nonsense,
    }
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

/// Whether the name is one of this machine alone.
pub fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(authority);
    host.is_some_and(|host| is_local_name(host.host()))
}

pub fn is_local_name(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_given_and_addresses_always_do() {
        let hosts: Hosts = "Shop.example, *.shop.internal,order".parse().unwrap();
        for ours in [
            "shop.example",
            "SHOP.EXAMPLE.",
            "a.shop.internal",
            "a.b.shop.internal",
            "order",
            "localhost",
            "page.localhost",
            "127.0.0.1",
            "10.1.2.3",
            "[::1]",
        ] {
            assert!(hosts.admit(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "a.shop.example",
            "shop.internal",
            ".shop.internal",
            "notlocalhost",
            "1.2.3.4.evil.example",
            "0x7f.1",
            "::1",
        ] {
            assert!(!hosts.admit(other), "{other}");
        }
        assert!("*".parse::<Hosts>().unwrap().admit("evil.example"));
    }

    #[test]
    fn what_is_no_name_is_told() {
        for wrong in ["http://shop.example", "shop.example:80", "*shop", "a b", ".", "*.", "ä"] {
            assert!(wrong.parse::<Hosts>().is_err(), "{wrong}");
        }
        assert_eq!(" , ".parse::<Hosts>(), Ok(Hosts::default()));
    }

    #[test]
    fn only_a_local_name_is_local() {
        let called = |host: &'static str| {
            is_local(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]))
        };
        assert!(called("localhost:3001") && called("127.0.0.1:3001") && called("[::1]:3001"));
        assert!(called("localhost"));
        assert!(!called("localhost.example:3001") && !called("evil.example") && !called(""));
        assert!(!called("localhost@evil.example") && !is_local(&HeaderMap::new()));
    }
}
