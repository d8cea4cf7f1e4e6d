//! Determines the client of a request: the peer's address, or the one that a trusted proxy names;
//! and its own name, where it has shown a key.

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks of proxies whose X-Forwarded-For is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

/// The client, in the extensions of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// The request came through a proxy, trusted or not.
    pub is_forwarded: bool,
    /// By its key, where keys are required.
    pub name: Option<Arc<str>>,
}

/// Whose rate and streams are limited together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    Named(Arc<str>),
    At(IpAddr),
}

impl Client {
    pub fn account(&self) -> Account {
        self.name.clone().map_or_else(|| Account::At(network(self.address)), Account::Named)
    }
}

/// One host has a whole /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let network = |one: &str| {
            let address = one.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| one.parse()).map_err(|_| {
                format!("{one:?} is neither an address nor a network, like 10.0.0.0/8")
            })
        };
        all.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl Proxies {
    /// Records the client in the request's extensions.
    pub fn note_client(&self, request: &mut Request) {
        let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
            return;
        };
        let headers = request.headers();
        let is_forwarded = headers.keys().any(is_of_a_proxy);
        let address = self.client(peer.ip(), headers);
        request.extensions_mut().insert(Client { address, is_forwarded, name: None });
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The last hop that is not a trusted proxy: any client may have written the hops before it.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        for hop in hops {
            if !self.trust(client) {
                break;
            }
            let Some(address) = address(hop) else { break };
            client = address;
        }
        client
    }
}

/// Proxies that write the client's address write other headers too, and some only others.
fn is_of_a_proxy(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded") || ["forwarded", "via", "x-real-ip"].contains(&name)
}

/// Some proxies append the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&'static str]) -> String {
        let lines = forwarded.iter().map(|line| (FORWARDED_FOR, line));
        let headers = lines.map(|(name, line)| (name.parse().unwrap(), line.parse().unwrap()));
        let proxies: Proxies = proxies.parse().unwrap();
        proxies.client(peer.parse().unwrap(), &HeaderMap::from_iter(headers)).to_string()
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let ours = "10.0.0.0/8, 192.0.2.7, fd00::/8";
        for (peer, forwarded, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // The client has written the first itself.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1 , 192.0.2.7"], "198.51.100.1"),
            ("fd00::1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            // All of them are trusted proxies.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(client(ours, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(client("", "127.0.0.1", &["198.51.100.1"]), "127.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_told() {
        for wrong in ["10.0.0.0/33", "proxy.example", "10.0.0.0/8;fd00::/8"] {
            assert!(wrong.parse::<Proxies>().is_err(), "{wrong}");
        }
    }
}
