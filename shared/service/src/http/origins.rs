//! Answers pages of other origins only where they are named (CORS), and lets no foreign page change
//! anything (CSRF).

use super::{limits::Limits, problem::Problem};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{str::FromStr, sync::Arc};

const METHODS: &str = "GET, POST";
const MAY_SEND: &str =
    "authorization, content-type, idempotency-key, last-event-id, traceparent, x-request-id";
const MAY_READ: &str = "location, retry-after, x-request-id";
/// How long a browser may keep the answer to a preflight request.
const KEPT_S: &str = "600";
/// What a browser says of a page's origin where the connection is secure.
const FETCH_SITE: &str = "sec-fetch-site";

/// Origins whose pages may use the API, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let origin = |one: &str| {
            let is_origin = one.parse::<Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                    && one.matches('/').count() == 2
            });
            let wrong = || format!("{one:?} is no origin; it is like https://shop.example:8443");
            is_origin.then(|| one.to_ascii_lowercase()).ok_or_else(wrong)
        };
        all.map(origin).collect::<Result<_, _>>().map(Self)
    }
}

impl Origins {
    fn name(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|named| named.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    }
}

pub async fn origins(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let named = &limits.origins;
    let origin = request.headers().get(header::ORIGIN).filter(|it| named.name(it)).cloned();
    let mut answer = match &origin {
        Some(_) if is_preflight(&request) => permission(),
        None if changes(request.method()) && is_foreign(request.headers()) => {
            Problem::foreign_origin().into_response()
        }
        _ => next.run(request).await,
    };
    if named.0.is_empty() {
        return answer;
    }
    let headers = answer.headers_mut();
    // Also where this request has no origin: the next one may have.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let may_read = HeaderValue::from_static(MAY_READ);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, may_read);
    }
    answer
}

fn is_preflight(request: &Request) -> bool {
    *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Never with credentials: a page shows its key in `Authorization`, and the API takes no cookie.
fn permission() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, MAY_SEND),
        (header::ACCESS_CONTROL_MAX_AGE, KEPT_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn changes(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Whether it comes from a page, and not from one of ours. Programs send neither header.
fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    origin.is_none()
        || !own.is_some_and(|own| origin.is_some_and(|it| it.eq_ignore_ascii_case(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let origins: Origins = " https://Shop.example, http://localhost:8080 ".parse().unwrap();
        for named in ["https://shop.example", "HTTPS://shop.example", "http://localhost:8080"] {
            assert!(origins.name(&HeaderValue::from_static(named)), "{named}");
        }
        for other in
            ["http://shop.example", "https://shop.example.evil.example", "null", "", "https://"]
        {
            assert!(!origins.name(&HeaderValue::from_static(other)), "{other}");
        }
        for wrong in ["*", "shop.example", "https://shop.example/", "ftp://a", "https://a@b"] {
            assert!(wrong.parse::<Origins>().is_err(), "{wrong}");
        }
        assert_eq!("".parse(), Ok(Origins::default()));
    }

    #[test]
    fn a_foreign_page_is_told_from_our_own_and_from_a_program() {
        for (site, origin, is_foreign_page) in [
            ("", "", false),
            ("same-origin", "", false),
            ("none", "", false),
            ("same-origin", "https://behind-a-proxy.example", false),
            ("", "http://order:3001", false),
            ("cross-site", "", true),
            ("same-site", "http://order:3001", true),
            ("", "http://order:3002", true),
            ("", "http://evil.example", true),
            ("", "null", true),
        ] {
            let mut headers = HeaderMap::from_iter([(header::HOST, "order:3001".parse().unwrap())]);
            for (name, value) in [(FETCH_SITE, site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(is_foreign(&headers), is_foreign_page, "{site} {origin}");
        }
    }
}
