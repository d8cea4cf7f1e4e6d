//! Serves `GET /orders`: newest first, page by page.

use super::{
    access::Caller,
    app::{App, parameters},
    problem::{self, cut},
};
use crate::{
    store::{Cursor, Filter},
    view::View,
};
use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use service::http::{Errors, Problem};
use uuid::Uuid;

pub const LIMIT: usize = 50;
pub const LIMIT_MAX: usize = 200;

#[derive(Serialize)]
pub struct Listed {
    pub orders: Vec<View>,
    pub next_cursor: Option<String>,
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Listed>, Problem> {
    let filter = Filter { client: caller.scope().cloned(), ..filter(&uri)? };
    let (orders, next) = app.backend.list(&filter).await?;
    let orders = orders.into_iter().map(|view| app.as_of_now(view)).collect();
    Ok(Json(Listed { orders, next_cursor: next.map(|cursor| cursor.to_string()) }))
}

fn filter(uri: &Uri) -> Result<Filter, Problem> {
    let [status, customer_id, cursor, limit] =
        parameters(uri, ["status", "customer_id", "cursor", "limit"])?;
    let mut errors = Errors::new();
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| "must be a UUID".into());
    let filter = Filter {
        status: read(&mut errors, "status", status, |text| cut(text).parse()),
        customer_id: read(&mut errors, "customer_id", customer_id, uuid),
        after: read(&mut errors, "cursor", cursor, str::parse::<Cursor>),
        client: None,
        limit: limit.map_or(Ok(LIMIT), |limit| limit.parse()).unwrap_or(0),
    };
    if !(1..=LIMIT_MAX).contains(&filter.limit) {
        errors.insert("limit".into(), vec![format!("must be between 1 and {LIMIT_MAX}")]);
    }
    if errors.is_empty() { Ok(filter) } else { Err(problem::bad_parameters(errors)) }
}

fn read<T>(
    errors: &mut Errors,
    field: &str,
    text: Option<String>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let value = read(&text?).map_err(|why| errors.insert(field.into(), vec![why]));
    value.ok()
}
