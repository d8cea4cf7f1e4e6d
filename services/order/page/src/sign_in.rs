//! Serves `/page/sign-in`: a browser exchanges a key for a cookie, and gives it back.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Html,
    routing::get,
};
use order::http::{
    App,
    access::{COOKIE, SIGN_IN, bearer},
    problem,
};
use service::http::{Problem, pages::file};

type Cookie = (StatusCode, [(HeaderName, String); 1]);

pub fn routes() -> Router<App> {
    let script = || file("text/javascript", include_str!("../assets/sign-in.js"));
    Router::new()
        .route(SIGN_IN, get(form).post(sign_in).delete(sign_out))
        .route("/page/sign-in.js", get(script))
}

async fn form() -> Html<&'static str> {
    Html(include_str!("../templates/sign-in.html"))
}

/// The key stands in a header, which no foreign form can send.
async fn sign_in(State(app): State<App>, headers: HeaderMap) -> Result<Cookie, Problem> {
    if !app.keys.are_required() {
        return Err(Problem::no_such_page());
    }
    let given = bearer(&headers).ok_or_else(problem::unknown_key)?;
    let key = app.keys.check(&given).await?;
    if !key.role.sees_all() {
        return Err(problem::role_may_not(key.role));
    }
    tracing::info!(client = &*key.client, key = key.id, "signed in to the live page");
    Ok(cookie(&headers, &given.to_string()))
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
