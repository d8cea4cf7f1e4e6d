//! Defines the options that several commands share: the order service, the output format, the
//! product.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use events::ProductId;

use crate::api::Api;
use crate::keys;
use crate::settings::Settings;

/// Which order service, and for whom to print.
#[derive(Args)]
pub struct Target {
    /// The order service [default: http://127.0.0.1:$ORDER_HTTP_PORT]
    #[arg(long, global = true)]
    url: Option<String>,
    /// The authorities of an https service, in PEM [default: those of the machine]
    #[arg(long, global = true, env = "ORDER_CA_FILE", value_name = "FILE", value_parser = path)]
    ca_file: Option<PathBuf>,
    /// File with the API key, instead of QUADRILLE_KEY and of the one that `saga up` makes
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Target {
    pub const fn has_url(&self) -> bool {
        self.url.is_some()
    }

    pub fn api(&self) -> Result<Api> {
        let ca_file = self.ca_file.clone().filter(|path| !path.as_os_str().is_empty());
        let api = if let Some(url) = &self.url {
            Api::trusting(url, ca_file.as_deref())?.with_key(keys::of_environment()?.as_ref())
        } else {
            let settings = Settings::of_running()?;
            let ca_file = ca_file.or_else(|| settings.order_authority());
            let api = Api::trusting(&settings.order_url(), ca_file.as_deref())?;
            api.with_key(keys::of(&settings)?.as_ref())
        };
        match &self.key_file {
            Some(path) => Ok(api.with_key(Some(&keys::of_file(path)?))),
            None => Ok(api),
        }
    }
}

/// Empty in the environment is none.
fn path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

pub fn product(text: &str) -> Result<ProductId, String> {
    let short = text.trim_start_matches('…');
    if (1..=12).contains(&short.len()) && short.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = format!("00000000-0000-0000-0000-{short:0>12}");
        return id.parse().map_err(|why| format!("{why}"));
    }
    text.parse().map_err(|_| format!("{text:?} is neither a UUID nor up to twelve digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use demo::QUILL;
    use uuid::Uuid;

    #[test]
    fn a_product_is_known_by_its_last_digits() {
        assert_eq!(product("4"), Ok(Uuid::from_u128(4)));
        assert_eq!(product("…0004"), Ok(Uuid::from_u128(4)));
        assert_eq!(product("00000000-0000-0000-0000-000000000001"), Ok(QUILL));
        assert!(product("quill").is_err() && product("").is_err());
    }
}
