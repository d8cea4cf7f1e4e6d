//! Reads who a token (JWT) speaks for: its claims name the client and the role.

use super::{Identity, Invalid, Role};
use anyhow::ensure;
use oidc::{Config, Issuer, Verified};
use serde_json::Value;
use service::parse_duration;
use sha2::{Digest, Sha256};
use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

/// Of a name in a token, in bytes.
const NAME_MAX: usize = 255;
/// Tokens are one client in the metrics: an issuer may name any number.
const LABEL: &str = "token";

#[derive(clap::Args, Clone, Debug)]
pub struct TokenSettings {
    /// An OpenID Connect issuer whose tokens (JWT) are accepted beside API keys, with
    /// API_KEYS=required; e.g. https://login.example/realms/shop
    #[arg(long, env = "OIDC_ISSUER", default_value = "", hide_default_value = true)]
    #[arg(value_name = "OIDC_ISSUER")]
    pub oidc_issuer: String,
    /// This API's name in a token's claim aud
    #[arg(long, env = "OIDC_AUDIENCE", default_value = "", hide_default_value = true)]
    #[arg(value_name = "OIDC_AUDIENCE")]
    pub oidc_audience: String,
    /// A file of certificates (PEM) to verify the issuer by, instead of the machine's
    #[arg(long, env = "OIDC_CA_FILE", value_name = "OIDC_CA_FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// The claim that names the client; /a/b is the claim b within the claim a
    #[arg(long, env = "OIDC_CLIENT_CLAIM", default_value = "sub")]
    #[arg(value_name = "OIDC_CLIENT_CLAIM")]
    pub oidc_client_claim: String,
    /// The claim that names the role, as a list or as words; without it all are clients
    #[arg(long, env = "OIDC_ROLE_CLAIM", default_value = "", value_name = "OIDC_ROLE_CLAIM")]
    pub oidc_role_claim: String,
    /// The roles' names in that claim
    #[arg(long, env = "OIDC_ROLES", value_name = "OIDC_ROLES")]
    #[arg(default_value = "client=client,viewer=viewer,operator=operator")]
    pub oidc_roles: Roles,
    /// How often the issuer's keys are fetched: a withdrawn one is accepted so long
    #[arg(long, env = "OIDC_REFRESH", default_value = "5m", value_name = "OIDC_REFRESH")]
    #[arg(value_parser = parse_duration)]
    pub oidc_refresh: Duration,
}

/// The name of each role in a token; the greatest first.
#[derive(Clone, Debug)]
pub struct Roles(Vec<(Role, String)>);

#[derive(Clone)]
pub struct Tokens {
    pub issuer: Issuer,
    client_claim: String,
    role_claim: Option<String>,
    roles: Roles,
}

impl TokenSettings {
    /// None without an issuer.
    pub fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        if self.oidc_issuer.is_empty() {
            return Ok(None);
        }
        ensure!(self.oidc_refresh >= Duration::from_secs(1), "OIDC_REFRESH is less than a second");
        let issuer = Issuer::new(&Config {
            url: &self.oidc_issuer,
            audience: &self.oidc_audience,
            ca_file: self.oidc_ca_file.as_deref(),
            refresh: self.oidc_refresh,
        })?;
        let role_claim = Some(self.oidc_role_claim.clone()).filter(|claim| !claim.is_empty());
        let (client_claim, roles) = (self.oidc_client_claim.clone(), self.oidc_roles.clone());
        Ok(Some(Tokens { issuer, client_claim, role_claim, roles }))
    }
}

impl Tokens {
    pub async fn check(&self, token: &str) -> Result<Arc<Identity>, Invalid> {
        let verified = self.issuer.check(token).await.map_err(Invalid::Token)?;
        let who = name(&verified, "sub")?;
        let client = name(&verified, &self.client_claim)?;
        let role = match &self.role_claim {
            None => Role::Client,
            Some(claim) => self.roles.of(verified.claim(claim)).ok_or(Invalid::NoRole)?,
        };
        Ok(Arc::new(Identity {
            key_id: None,
            who: who.into(),
            client: client.into(),
            role,
            digest: Sha256::digest(token).into(),
            label: LABEL.into(),
            lifetime: Some(verified.lifetime),
            revoked: verified.withdrawn,
        }))
    }
}

/// It stands in logs and before idempotency keys.
fn name<'a>(verified: &'a Verified, claim: &str) -> Result<&'a str, Invalid> {
    let is_fit = |c: u8| c.is_ascii_alphanumeric() || b"-_.:@|/+=".contains(&c);
    let name = verified.claim(claim).and_then(Value::as_str);
    let name = name.filter(|it| (1..=NAME_MAX).contains(&it.len()) && it.bytes().all(is_fit));
    name.ok_or_else(|| {
        Invalid::Token(oidc::Refusal::Invalid(format!(
            "its claim {claim} is no name: 1 to {NAME_MAX} letters, digits or -_.:@|/+="
        )))
    })
}

impl Roles {
    fn of(&self, claim: Option<&Value>) -> Option<Role> {
        let names: Vec<&str> = match claim? {
            Value::String(words) => words.split_whitespace().collect(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        let found = self.0.iter().find(|(_, name)| names.contains(&name.as_str()));
        found.map(|(role, _)| *role)
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Vec::new();
        for pair in text.split(',') {
            let (role, name) = pair.split_once('=').ok_or_else(|| {
                format!("{pair:?} is not <role>=<its name in a token>, e.g. operator=admin")
            })?;
            let role: Role = role.trim().parse()?;
            let name = name.trim();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(format!("{pair:?} has no name, or one of several words"));
            }
            roles.push((role, name.to_owned()));
        }
        roles.sort_by_key(|(role, _)| (!role.operates(), !role.sees_all()));
        Ok(Self(roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_greatest_role_of_a_list_or_of_words_counts() {
        let roles: Roles = "client=orders,viewer=board, operator=admin".parse().unwrap();
        let of = |claim: Value| roles.of(Some(&claim)).map(Role::name);
        assert_eq!(of(json!("openid orders admin")), Some("operator"));
        assert_eq!(of(json!(["orders", 7, "board"])), Some("viewer"));
        assert_eq!(of(json!("orders")), Some("client"));
        for none in [json!("ordersadmin"), json!([["admin"]]), json!({ "admin": true }), json!("")]
        {
            assert_eq!(of(none), None);
        }
        assert_eq!(roles.of(None), None);
    }

    #[test]
    fn roles_that_are_written_wrongly_are_told() {
        for (text, told) in [
            ("operator", "<role>=<its name in a token>"),
            ("root=admin", "\"root\" is no role"),
            ("operator=", "no name"),
            ("operator=a b", "several words"),
        ] {
            let why = text.parse::<Roles>().unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
