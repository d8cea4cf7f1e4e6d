//! Serves `/page/sign-in`: a browser exchanges a key or a token for a cookie, and gives it back.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use order::http::{
    App,
    access::{COOKIE, SIGN_IN, bearer},
    problem,
};
use order::keys::Role;
use service::http::{Errors, Problem, pages::file};

/// Browsers keep 4,096 bytes, with the name and the attributes.
const COOKIE_MAX: usize = 3_900;

type Cookie = (StatusCode, [(HeaderName, String); 1]);

pub fn routes() -> Router<App> {
    let script = || file("text/javascript", include_str!("../assets/sign-in.js"));
    Router::new()
        .route(SIGN_IN, get(form).post(sign_in).delete(sign_out))
        .route("/page/sign-in.js", get(script))
}

async fn form(State(app): State<App>) -> Response {
    if !app.keys.are_required() {
        return Redirect::to("/").into_response();
    }
    Html(include_str!("../templates/sign-in.html")).into_response()
}

/// The key stands in a header, which no foreign form can send.
async fn sign_in(State(app): State<App>, headers: HeaderMap) -> Result<Cookie, Problem> {
    if !app.keys.are_required() {
        return Err(Problem::no_such_page());
    }
    let given = bearer(&headers)?;
    let identity = app.keys.check(&given).await?;
    if !identity.role.sees_all() {
        return Err(problem::role_may_not(identity.role, Role::sees_all));
    }
    let given = given.to_string();
    if given.len() > COOKIE_MAX {
        let detail = "a browser keeps no cookie of this token's size; sign in with an API key";
        return Err(Problem::malformed(detail, Errors::new()));
    }
    let (who, key) = (&*identity.who, identity.key_id.as_deref().unwrap_or_default());
    tracing::info!(who, key, "signed in to the live page");
    Ok(cookie(&headers, &given))
}

async fn sign_out(headers: HeaderMap) -> Cookie {
    let (status, [(name, value)]) = cookie(&headers, "");
    (status, [(name, value + "; Max-Age=0")])
}

/// Until the browser ends. A page that came by https sends it by https only.
fn cookie(headers: &HeaderMap, value: &str) -> Cookie {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let secure = if origin.is_some_and(|it| it.starts_with("https:")) { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)])
}
