//! Connects to order's database alone, for commands that need no other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use audit::{Databases, Endpoints};

pub async fn of_order(endpoints: &Endpoints) -> Result<Databases> {
    let (name, url) = endpoints.databases.get_key_value("order").context("order's database")?;
    Databases::connect(&BTreeMap::from([(name.clone(), url.clone())])).await
}
