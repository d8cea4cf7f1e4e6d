//! Kills and starts services by buttons, where they run in a process that can: `saga play`.

use crate::{Page, acting::Allowed};
use async_trait::async_trait;
use axum::{
    Json,
    extract::{Path, State},
};
use events::SERVICES;
use serde::Deserialize;
use serde_json::{Value, json};
use service::http::Problem;

#[async_trait]
pub trait Controls: Send + Sync + 'static {
    /// As by `kill -9`; nothing where it does not run.
    async fn kill(&self, service: &'static str);
    /// Nothing where it runs.
    async fn start(&self, service: &'static str);
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    Kill,
    Start,
}

pub async fn act(
    _: Allowed,
    State(Page { acting, .. }): State<Page>,
    Path((service, switch)): Path<(String, Switch)>,
) -> Result<Json<Value>, Problem> {
    let controls = acting.and_then(|acting| acting.controls.clone());
    // Order serves the page itself.
    let known = SERVICES.iter().copied().skip(1).find(|known| *known == service);
    let (Some(controls), Some(known)) = (controls, known) else {
        return Err(Problem::no_such_page());
    };
    match switch {
        Switch::Kill => controls.kill(known).await,
        Switch::Start => controls.start(known).await,
    }
    Ok(Json(json!({ "service": known })))
}
