//! Determines who acts by this command.

use anyhow::{Context, Result};
use clap::Args;
use database::PlainConnection;
use nix::unistd::{Uid, User};
use order::acts::{Actor, storable_reason};
use order::store;

#[derive(Args, Clone, Default)]
pub struct ActorArgs {
    /// Act under this name [default: the client of QUADRILLE_KEY, else the user of this machine]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}

impl ActorArgs {
    pub async fn actor(
        &self,
        orders: &mut PlainConnection,
        reason: Option<String>,
    ) -> Result<Actor> {
        let reason = reason.map(|reason| storable_reason(&reason));
        let via = "saga";
        if let Some(who) = self.name.clone() {
            return Ok(Actor { who, key_id: None, via, reason });
        }
        if let Some(key) = kit::keys::of_environment()? {
            let holder = store::holder_of(orders, &key).await?;
            let invalid = "the key in QUADRILLE_KEY is not valid: see `saga keys`";
            let (who, _) = holder.context(invalid)?;
            return Ok(Actor { who, key_id: Some(key.id().into()), via, reason });
        }
        Ok(Actor { who: user(), key_id: None, via, reason })
    }
}

fn user() -> String {
    let user = User::from_uid(Uid::current()).ok().flatten();
    user.map_or_else(|| format!("uid {}", Uid::current()), |user| user.name)
}
