//! Finds the API key of this command, and makes the operator's of a system on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use database::PlainConnection;
use messaging::SystemEnv;
use order::keys::{ApiKey, LOOK_EVERY, Role};
use order::store;
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use crate::disk::is_written;
use crate::primary;
use crate::service::write_secret;
use crate::settings::Settings;

const VARIABLE: &str = "QUADRILLE_KEY";
/// The client of the key that `up` makes.
const CLIENT: &str = "local-operator";
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The key of `QUADRILLE_KEY`, if it is set.
pub fn of_environment() -> Result<Option<ApiKey>> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => parse(&text, VARIABLE).map(Some),
        _ => Ok(None),
    }
}

/// The key in this file: one line.
pub fn of_file(path: &Path) -> Result<ApiKey> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read the key in {}", path.display()))?;
    parse(&text, &path.display().to_string())
}

/// The key for a system of these settings: that of the environment, else that which `up` has made.
pub fn of(settings: &Settings) -> Result<Option<ApiKey>> {
    let own = file(settings);
    match of_environment()? {
        Some(key) => Ok(Some(key)),
        None if is_written(&own) => of_file(&own).map(Some),
        None => Ok(None),
    }
}

fn parse(text: &str, place: &str) -> Result<ApiKey> {
    match text.trim().parse() {
        Ok(key) => Ok(key),
        Err(why) => bail!("{place}: {why}"),
    }
}

pub fn file(settings: &Settings) -> PathBuf {
    settings.home.join("operator.key")
}

/// `API_KEYS`, as order and `saga up` are given it.
pub const fn setting(settings: &Settings) -> &'static str {
    if settings.are_keys_required { "required" } else { "off" }
}

/// Makes an operator's key, where keys are required and it is not there; only this user can read
/// it. The file comes first, so that a crash leaves no valid key that is not in it.
pub async fn ensure_operator(settings: &Settings) -> Result<()> {
    if !settings.are_keys_required {
        return Ok(());
    }
    let key = kept(&file(settings))?;
    let database = settings.database("order").context("order has a database")?;
    let url = match primary::url(settings, database).await {
        Some(url) if settings.is_cluster => url,
        _ => database.url(),
    };
    let mut connection = PlainConnection::open(&url).await?;
    if store::holder_of(&mut connection, &key).await?.is_none() {
        store::create_key(&mut connection, &key, CLIENT, Role::Operator).await?;
        // The next command uses it at once.
        timeout(2 * LOOK_EVERY, taken(settings, &key)).await.ok();
    }
    Ok(())
}

/// The key in the file, which is made where it is missing, or where it is empty.
fn kept(path: &Path) -> Result<ApiKey> {
    if is_written(path) {
        let again = || "where it is damaged, delete it: `saga up` makes another";
        return of_file(path).with_context(again);
    }
    let key = ApiKey::new(&SystemEnv);
    write_secret(path, &format!("{key}\n"), 0o600)?;
    Ok(key)
}

/// Returns when every copy of order knows the key.
async fn taken(settings: &Settings, key: &ApiKey) -> Result<()> {
    let copies = settings.cluster.orders.map(|(port, _)| port);
    let one = [settings.order_http_port];
    for port in if settings.is_cluster { &copies[..] } else { &one } {
        let url = settings.order_url_at(*port);
        let client = https::client(&url, settings.order_authority().as_deref())?;
        let client = client.no_proxy().build()?;
        let asked = || client.get(format!("{url}/orders?limit=1")).bearer_auth(key).send();
        while asked().await.is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED) {
            sleep(POLL_INTERVAL).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_whose_write_was_interrupted_is_made_anew_and_a_damaged_one_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.key");
        fs::write(&path, "").unwrap();
        let key = kept(&path).unwrap().to_string();
        assert_eq!(kept(&path).unwrap().to_string(), key, "it is kept");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, &key[..9]).unwrap();
        let failed = format!("{:#}", kept(&path).err().unwrap());
        assert!(failed.contains("operator.key") && failed.contains("delete it"), "{failed}");
    }
}
