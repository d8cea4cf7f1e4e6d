//! Serves `GET /orders`: newest first, page by page.

use super::{access::Caller, app::App, problem};
use crate::{
    store::{Cursor, Filter},
    view::View,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use service::http::{Errors, Problem};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};
use uuid::Uuid;

pub const LIMIT: usize = 50;
pub const LIMIT_MAX: usize = 200;

#[derive(Default, Deserialize)]
pub struct Asked {
    status: Option<String>,
    customer_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    pub orders: Vec<View>,
    pub next_cursor: Option<String>,
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let Query(asked) = asked.map_err(|why| Problem::malformed(why.body_text(), BTreeMap::new()))?;
    let filter = Filter { client: caller.scope().cloned(), ..asked.filter()? };
    let (orders, next) = app.backend.list(&filter).await?;
    let orders = orders.into_iter().map(|view| app.as_of_now(view)).collect();
    Ok(Json(Listed { orders, next_cursor: next.map(|cursor| cursor.to_string()) }))
}

impl Asked {
    fn filter(&self) -> Result<Filter, Problem> {
        let mut errors = Errors::new();
        let filter = Filter {
            status: parse(&mut errors, "status", self.status.as_deref()),
            customer_id: parse::<Uuid>(&mut errors, "customer_id", self.customer_id.as_deref()),
            after: parse::<Cursor>(&mut errors, "cursor", self.cursor.as_deref()),
            client: None,
            limit: self.limit.as_ref().map_or(Ok(LIMIT), |limit| limit.parse()).unwrap_or(0),
        };
        if !(1..=LIMIT_MAX).contains(&filter.limit) {
            errors.insert("limit".into(), vec![format!("must be between 1 and {LIMIT_MAX}")]);
        }
        if errors.is_empty() {
            return Ok(filter);
        }
        Err(problem::bad_parameters(errors))
    }
}

fn parse<T: FromStr>(errors: &mut Errors, field: &str, text: Option<&str>) -> Option<T>
where
    T::Err: Display,
{
    match text?.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            errors.insert(field.into(), vec![why.to_string()]);
            None
        }
    }
}
