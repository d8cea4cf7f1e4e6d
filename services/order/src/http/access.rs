//! Authenticates requests by API key or token, where keys are required. Every route behind it gets
//! a `Caller`, which says what it may see and do; a handler without one fails.

use super::{app::App, problem};
use crate::keys::{Credential, Identity, Invalid, Role};
use axum::{
    body::{Body, HttpBody},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use futures::StreamExt;
use oidc::Refusal;
use service::http::{Client, Problem};
use std::{future::pending, sync::Arc};
use telemetry::metrics;
use tokio::time::sleep;

/// The live page's cookie. Only the page's own paths accept it, since a browser sends it unasked.
pub const COOKIE: &str = "quadrille_key";
pub const SIGN_IN: &str = "/page/sign-in";

/// Whose request it is. Without keys everybody may do everything.
#[derive(Clone, Debug)]
pub struct Caller(Option<Arc<Identity>>);

impl Caller {
    /// Whose orders it sees; none is everyone's.
    pub fn scope(&self) -> Option<&Arc<str>> {
        self.0.as_ref().filter(|it| !it.role.sees_all()).map(|it| &it.client)
    }

    /// None without keys.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.as_deref()
    }

    /// The client that an order of this caller belongs to.
    pub fn client(&self) -> Option<Arc<str>> {
        self.0.as_ref().map(|it| it.client.clone())
    }

    /// Fails where its role does not allow this.
    pub fn must(&self, may: impl Fn(Role) -> bool) -> Result<(), Problem> {
        match &self.0 {
            Some(it) if !may(it.role) => Err(problem::role_may_not(it.role, may)),
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!("{} is not behind the keys: refused", parts.uri.path());
            Problem::internal()
        })
    }
}

pub async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if !app.keys.are_required() {
        request.extensions_mut().insert(Caller(None));
        return next.run(request).await;
    }
    let is_for_page = request.method() == Method::GET && request.uri().path() == "/";
    // A request cannot be shared with another thread, as a wait may need.
    let given = given(&request);
    let identity = match authenticated(&app, given).await {
        Ok(identity) => identity,
        // Guesses count against the rate of their address.
        Err(refusal) => {
            return match app.limits().admit(request.extensions().get()) {
                Ok(()) if is_for_page => Redirect::to(SIGN_IN).into_response(),
                Ok(()) => refusal.into_response(),
                Err(too_many) => too_many.into_response(),
            };
        }
    };
    if let Some(client) = request.extensions_mut().get_mut::<Client>() {
        client.name = Some(identity.client.clone());
    }
    request.extensions_mut().insert(Caller(Some(identity.clone())));
    let answer = next.run(request).await;
    let status = answer.status();
    metrics::CLIENT_REQUESTS.add(1, [&*identity.label, class(status.as_u16())]);
    while_valid(answer, &identity)
}

async fn authenticated(
    app: &App,
    given: Result<Option<Credential>, Problem>,
) -> Result<Arc<Identity>, Problem> {
    let given = given?.ok_or_else(problem::no_key)?;
    Ok(app.keys.check(&given).await?)
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Unknown => problem::unknown_key(),
            Invalid::Stale => Self::database_away(),
            Invalid::Token(Refusal::Invalid(why)) => problem::invalid_token(&why),
            Invalid::Token(Refusal::Unreachable) => problem::issuer_away(),
            Invalid::NoRole => problem::no_role(),
        }
    }
}

/// The key or token that the request shows; an error where it shows something else.
fn given(request: &Request) -> Result<Option<Credential>, Problem> {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) {
        return bearer(headers).map(Some);
    }
    let path = request.uri().path();
    if path != "/" && !path.starts_with("/page/") {
        return Ok(None);
    }
    Ok(cookie(headers).and_then(|text| text.parse().ok()))
}

/// The key or token in `Authorization: Bearer …`, given once.
pub fn bearer(headers: &HeaderMap) -> Result<Credential, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let only = all.next().filter(|_| all.next().is_none());
    let parts = only.and_then(|value| value.to_str().ok()?.split_once(' '));
    let key = parts.and_then(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer").then_some(key));
    key.ok_or_else(problem::no_bearer)?.trim().parse().map_err(|_| problem::unknown_key())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|it| it.split_once('='));
    pairs.find_map(|(name, value)| (name.trim() == COOKIE).then_some(value.trim()))
}

fn class(status: u16) -> &'static str {
    match status {
        ..400 => "ok",
        400..500 => "refused",
        _ => "failed",
    }
}

/// A stream ends with its key or token.
fn while_valid(answer: Response, identity: &Identity) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    let (revoked, lifetime) = (identity.revoked.clone(), identity.lifetime);
    let ended = async move {
        let expired = async {
            match lifetime {
                Some(lifetime) => sleep(lifetime).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = revoked.cancelled() => {}
            () = expired => {}
        }
    };
    answer.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)))
}
