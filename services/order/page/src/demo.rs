//! Places orders for the demonstration (`DEMO=1`): for clients on this machine only, and from this
//! page only.

use crate::{Page, PageSettings, operator::Operator};
use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{HeaderValue, StatusCode, request::Parts},
};
use demo::{CUSTOMER, DemoOrder, PRICE};
use events::CancelReason;
use messaging::{Env, SystemEnv};
use order::{Draft, Request, http::App};
use serde_json::{Value, json};
use service::http::{Client, Problem, is_local};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path as File,
};

pub struct Demo {
    /// Only our own page gets it: a foreign page cannot read it.
    pub token: String,
    pub operator: Option<Operator>,
}

/// An order with a certain end.
pub struct Scenario {
    pub name: &'static str,
    pub words: &'static str,
    asking: DemoOrder,
}

impl Demo {
    pub fn new(settings: &PageSettings) -> Self {
        let token = format!("{:016x}{:016x}", SystemEnv.random(), SystemEnv.random());
        Self { token, operator: Operator::new(&settings.operator_amqp_url) }
    }
}

pub const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "happy", words: "happy", asking: DemoOrder::CONFIRMED },
    Scenario { name: "declined", words: "declined", asking: DemoOrder::DECLINED },
    Scenario { name: "flaky", words: "flaky", asking: DemoOrder::FLAKY },
    Scenario { name: "sold-out", words: "sold out", asking: DemoOrder::NONE_LEFT },
    Scenario { name: "carrier", words: "carrier", asking: DemoOrder::CARRIER },
    Scenario { name: "cancel", words: "cancel", asking: DemoOrder::CANCEL_CHARGED },
];

/// The permission to act: only a request from our own page on this machine has it.
pub struct Allowed;

impl FromRequestParts<Page> for Allowed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, page: &Page) -> Result<Self, Problem> {
        let demo = page.demo.as_ref().ok_or_else(Problem::no_such_page)?;
        let client = parts.extensions.get::<Client>();
        // A proxy on this machine is near, and may forward requests from afar.
        let is_near = client.is_some_and(|it| !it.is_forwarded && is_near(it.address));
        let given = parts.headers.get("x-csrf-token").map(HeaderValue::as_bytes);
        let is_ours = given == Some(demo.token.as_bytes());
        if is_near && is_ours && is_local(&parts.headers) {
            return Ok(Self);
        }
        Err(not_from_here())
    }
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
    ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| File::new(mark).exists())
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

pub async fn place(
    _: Allowed,
    State(Page { app, .. }): State<Page>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let scenario = SCENARIOS.iter().find(|known| known.name == name);
    let scenario = scenario.ok_or_else(Problem::no_such_page)?;
    let DemoOrder { method: payment_method, cancel_after, .. } = scenario.asking;
    let items = scenario.asking.items();
    let total_amount = PRICE.times(scenario.asking.quantity).map_err(|_| Problem::internal())?;
    let draft = Draft { customer_id: CUSTOMER, payment_method, items, total_amount };
    let order_id = app.placing.place(Request { draft, key: None, trace: None }).await?.order_id;
    if let Some(wait) = cancel_after {
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let App { context, orders, .. } = app;
            let _ = order::cancel(context, orders, order_id, CancelReason::Customer, None).await;
        });
    }
    Ok(Json(json!({ "order_id": order_id })))
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
