//! Decides who may see the page, and who may act on it: by the role of a key where keys are
//! required; else with `DEMO=1` for clients on this machine, and from this page only.

use crate::{
    Page, PageSettings,
    controls::Controls,
    operator::{Operator, RabbitOperator},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
};
use messaging::{Env, SystemEnv};
use order::{
    http::access::Caller,
    keys::{Identity, Role},
};
use secret::Secret;
use service::http::{Client, Problem, is_local, is_local_name};
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

pub struct Acting {
    /// Of this process, for a page without a key.
    token: String,
    pub operator: Option<Arc<dyn Operator>>,
    /// Kills and starts services.
    pub controls: Option<Arc<dyn Controls>>,
    /// Places orders of the demonstration.
    pub is_demo: bool,
}

impl Acting {
    pub fn new(settings: &PageSettings) -> anyhow::Result<Self> {
        let token = format!("{:016x}{:016x}", SystemEnv.random(), SystemEnv.random());
        let PageSettings { operator_amqp_url, operator_amqp_url_file, .. } = settings;
        let (value, file) = (operator_amqp_url.as_ref(), operator_amqp_url_file.as_deref());
        let operator = Secret::of("OPERATOR_AMQP_URL", value, file)?
            .map(|url| Arc::new(RabbitOperator::new(url)) as _);
        Ok(Self { token, operator, controls: None, is_demo: settings.demo })
    }

    /// Only our own page gets it: a foreign page cannot read it. Each replica makes the same of a
    /// key.
    pub fn token(&self, caller: &Caller) -> String {
        caller.identity().map_or_else(|| self.token.clone(), token_of)
    }
}

fn token_of(identity: &Identity) -> String {
    let digest = Sha256::new().chain_update("page").chain_update(identity.digest).finalize();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The permission to see the page.
pub struct Viewer(pub Caller);

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.must(Role::sees_all)?;
        Ok(Self(caller))
    }
}

/// The permission to act: only a request from our own page has it; of an operator, or on this
/// machine where no keys are required.
pub struct Allowed(pub Caller);

impl FromRequestParts<Page> for Allowed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, page: &Page) -> Result<Self, Problem> {
        let acting = page.acting.as_ref().ok_or_else(Problem::no_such_page)?;
        let caller = Caller::from_request_parts(parts, page).await?;
        let given = parts.headers.get("x-csrf-token").map(HeaderValue::as_bytes);
        let is_ours = given == Some(acting.token(&caller).as_bytes());
        if caller.identity().is_some() {
            caller.must(Role::operates)?;
            return if is_ours { Ok(Self(caller)) } else { Err(not_from_page()) };
        }
        let client = parts.extensions.get::<Client>();
        // A proxy on this machine is near, and may forward requests from afar.
        let is_near = client.is_some_and(|it| !it.is_forwarded && is_near(it.address));
        if is_near && is_ours && is_local(&parts.headers) && is_from_here(&parts.headers) {
            return Ok(Self(caller));
        }
        Err(not_from_here())
    }
}

/// The page that a browser shows: a proxy may rename the host, and leaves this as it is.
fn is_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    origin.is_some_and(|origin| origin.host().is_some_and(is_local_name))
}

fn not_from_page() -> Problem {
    let (status, title) = (StatusCode::FORBIDDEN, "Forbidden");
    let detail = "only the live page may do this, with its own token; reload it";
    Problem::new(status, "not-from-page", title, detail)
}

fn not_from_here() -> Problem {
    let (status, title) = (StatusCode::FORBIDDEN, "Forbidden");
    let detail = "only the live page, opened on this machine, may do this; reload it";
    Problem::new(status, "not-from-here", title, detail)
}

/// This machine, or the host of a container: the host's requests come through the container's
/// gateway.
fn is_near(peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || is_in_container() && gateway().is_some_and(|gateway| peer == gateway)
}

fn is_in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
}

fn gateway() -> Option<IpAddr> {
    gateway_of(&fs::read_to_string("/proc/net/route").ok()?)
}

/// Interface, destination, gateway, …: addresses in hexadecimal, backwards.
fn gateway_of(routes: &str) -> Option<IpAddr> {
    let lines = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut defaults = lines.filter(|line| line.get(1) == Some(&"00000000"));
    let digits = u32::from_str_radix(defaults.next()?.get(2)?, 16).ok()?;
    Some(Ipv4Addr::from(digits.to_le_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gateway_is_read_backwards() {
        let routes = "Iface\tDestination\tGateway\tFlags\n\
                      eth0\t000011AC\t00000000\t0001\n\
                      eth0\t00000000\t010011AC\t0003\n";
        assert_eq!(gateway_of(routes), Some([172, 17, 0, 1].into()));
        assert_eq!(gateway_of("Iface\tDestination\tGateway\n"), None);
    }
}
