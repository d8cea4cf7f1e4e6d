//! Finds the API key of this command, and makes the operator's of a system on this machine.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use database::PlainConnection;
use messaging::SystemEnv;
use order::keys::{ApiKey, LOOK_EVERY, Role};
use order::store;
use tokio::time::sleep;

use crate::primary;
use crate::settings::Settings;

const VARIABLE: &str = "QUADRILLE_KEY";
/// The client of the key that `up` makes.
const CLIENT: &str = "local-operator";

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
        None if own.exists() => of_file(&own).map(Some),
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
    let path = file(settings);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let key = match made {
        Ok(mut file) => {
            let key = ApiKey::new(&SystemEnv);
            writeln!(file, "{key}").with_context(|| format!("cannot write {}", path.display()))?;
            key
        }
        Err(why) if why.kind() == ErrorKind::AlreadyExists => of_file(&path)?,
        Err(why) => return Err(why).with_context(|| format!("cannot make {}", path.display())),
    };
    let database = settings.database("order").context("order has a database")?;
    let url = match primary::url(settings, database).await {
        Some(url) if settings.is_cluster => url,
        _ => database.url(),
    };
    let mut connection = PlainConnection::open(&url).await?;
    if store::holder_of(&mut connection, &key).await?.is_none() {
        store::create_key(&mut connection, &key, CLIENT, Role::Operator).await?;
        // The next command uses it at once.
        sleep(2 * LOOK_EVERY).await;
    }
    Ok(())
}
