//! Chooses among the hosts that one URL names: `postgres://user@host-1:5432,host-2:5432/orders`.
//!
//! After a fail-over the old primary may come back, and take writes that are lost. Each promotion
//! begins a new timeline, so the primary of the highest one is chosen, and none of a lower one is
//! used again.

mod current;
mod look;

use crate::{encryption::Encryption, wire::Login};
use futures::future::BoxFuture;
use sqlx::{Error, postgres::PgConnectOptions};
use sqlx_core::Url;
use std::{
    io::{self, ErrorKind},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

pub use current::CurrentHosts;

/// Says that a server takes no writes, and of several servers which timeline each is on.
const TAKES_WRITES: &str = "SELECT CASE WHEN current_setting('transaction_read_only') = 'off' \
     THEN 0 END";
const TIMELINE: &str = "SELECT CASE WHEN current_setting('transaction_read_only') = 'off' \
     THEN ('x' || LEFT(pg_walfile_name(pg_current_wal_lsn()), 8))::BIT(32)::INTEGER END";

pub struct Hosts {
    all: Vec<Host>,
    must_take_writes: bool,
    chosen: Arc<Mutex<Chosen>>,
}

pub struct Host {
    name: String,
    encryption: Encryption,
    pub options: PgConnectOptions,
    pub login: Login,
}

#[derive(Default)]
struct Chosen {
    host: Option<usize>,
    timeline: i32,
    /// Which hosts were logged since they were last of use: as a standby, or as one of no use.
    logged: Vec<Option<bool>>,
    /// Why no host was found yet, while one of them is silent.
    said: Option<String>,
}

/// A connection to a host, whatever its kind.
pub trait Connect: Sized + Send {
    fn connect(host: &Host) -> BoxFuture<'_, Result<Self, Error>>;

    /// The integer that this statement returns.
    fn ask(&mut self, sql: &'static str) -> BoxFuture<'_, Result<Option<i32>, Error>>;
}

/// Why there is no connection.
pub struct Refused {
    pub why: Error,
    /// The server is starting, or will be promoted.
    pub may_pass: bool,
    is_standby: bool,
}

impl Hosts {
    /// `settings` are added to what the URL says of each; `writing` for the writers only.
    pub fn new(
        url: &str,
        settings: impl Fn(PgConnectOptions) -> PgConnectOptions,
        writing: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<Self, Error> {
        let Address { urls, must_take_writes } = Address::read(url)?;
        let all = urls.iter().map(|(name, url)| Host::new(name, url, &settings, &writing));
        let all = all.collect::<Result<Vec<_>, Error>>()?;
        let chosen = Chosen { logged: vec![None; all.len()], ..Chosen::default() };
        Ok(Self { all, must_take_writes, chosen: Arc::new(Mutex::new(chosen)) })
    }

    /// The same servers with another login keep what is known of them; of others, some of which are
    /// the same, at least the timeline.
    fn after(mut self, before: &Self) -> Self {
        let is_known = |host: &Host| before.all.iter().any(|other| other.name == host.name);
        if self.all.iter().map(|it| &it.name).eq(before.all.iter().map(|it| &it.name)) {
            self.chosen = before.chosen.clone();
        } else if self.all.iter().any(is_known) {
            self.lock().timeline = before.lock().timeline;
        }
        self
    }

    /// The host that was chosen last.
    pub fn chosen(&self) -> &Host {
        &self.all[self.lock().host.unwrap_or(0)]
    }

    /// The next connection is preceded by a look at all of them.
    pub fn doubt(&self) {
        self.lock().host = None;
    }

    fn say(&self, refusals: impl Iterator<Item = Refused>) {
        let refusals: Vec<_> = refusals.enumerate().collect();
        if self.all.len() > 1 {
            self.lock().said = Some(self.list(&refusals));
        }
    }

    /// Why no host was found so far, while the search goes on.
    pub fn said(&self) -> Option<Error> {
        Some(Error::Io(io::Error::other(self.lock().said.clone()?)))
    }

    fn choose<C>(&self, answers: Vec<Result<(C, i32), Refused>>) -> Result<C, Refused> {
        let mut chosen = self.lock();
        chosen.said = None;
        let (mut best, mut refusals) = (None, Vec::new());
        for (at, answer) in answers.into_iter().enumerate() {
            match answer {
                // One of a higher timeline may have been found meanwhile.
                Ok((_, timeline)) if timeline < chosen.timeline => {}
                Ok((connection, timeline)) => {
                    chosen.logged[at] = None;
                    if best.as_ref().is_none_or(|(_, best, _)| *best < timeline) {
                        best = Some((at, timeline, connection));
                    }
                }
                Err(refused) => refusals.push((at, refused)),
            }
        }
        let Some((at, timeline, connection)) = best else { return Err(self.none(refusals)) };
        if self.all.len() == 1 {
            return Ok(connection);
        }
        if chosen.host.replace(at) != Some(at) {
            let host = &self.all[at].name;
            tracing::info!(host, timeline, "the database's primary is {host}");
        }
        chosen.timeline = timeline;
        for (at, Refused { why, is_standby, .. }) in refusals {
            if chosen.logged[at].replace(is_standby) == Some(is_standby) {
                continue;
            }
            let (host, why) = (&self.all[at].name, told(&why));
            if is_standby {
                tracing::info!(host, "{host} of DATABASE_URL is a standby");
            } else {
                tracing::warn!(host, "cannot use {host} of DATABASE_URL, only the others: {why}");
            }
        }
        Ok(connection)
    }

    /// A wrong login at all of them does not pass; anything else may.
    fn none(&self, mut refusals: Vec<(usize, Refused)>) -> Refused {
        if self.all.len() == 1
            && let Some((_, refused)) = refusals.pop()
        {
            return refused;
        }
        let may_pass = refusals.iter().any(|(_, refused)| refused.may_pass);
        if !may_pass
            && let Some(at) =
                refusals.iter().position(|(_, it)| it.why.as_database_error().is_some())
        {
            return refusals.swap_remove(at).1;
        }
        let why = Error::Io(io::Error::other(self.list(&refusals)));
        Refused { why, may_pass, is_standby: false }
    }

    fn list(&self, refusals: &[(usize, Refused)]) -> String {
        let each =
            refusals.iter().map(|(at, it)| format!("{}: {}", self.all[*at].name, told(&it.why)));
        format!("no host takes writes: {}", each.collect::<Vec<_>>().join("; "))
    }

    async fn open_in_time<C: Connect>(
        &self,
        at: usize,
        limit: Duration,
    ) -> Result<(C, i32), Refused> {
        let opened = timeout(limit, self.open(&self.all[at])).await;
        opened.unwrap_or_else(|_| Err(Refused::silent(limit)))
    }

    /// With its timeline, where there are several.
    async fn open<C: Connect>(&self, host: &Host) -> Result<(C, i32), Refused> {
        let mut connection = C::connect(host).await.map_err(|why| host.explained(why))?;
        if !self.must_take_writes {
            return Ok((connection, 0));
        }
        let question = if self.all.len() > 1 { TIMELINE } else { TAKES_WRITES };
        let Some(timeline) = connection.ask(question).await? else {
            let refused = Refused::for_now("it takes no writes: it is a standby");
            return Err(Refused { is_standby: true, ..refused });
        };
        let newest = self.lock().timeline;
        if timeline < newest {
            return Err(Refused::for_now(&format!(
                "it is an old primary, of timeline {timeline}; the present one's is {newest}"
            )));
        }
        Ok((connection, timeline))
    }

    fn lock(&self) -> MutexGuard<'_, Chosen> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn new(
        name: &str,
        url: &str,
        settings: impl Fn(PgConnectOptions) -> PgConnectOptions,
        writing: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)?;
        let url = Url::parse(url).map_err(|why| Error::Configuration(why.into()))?;
        let encryption = Encryption::read(&url, options.get_ssl_mode())?;
        let options = settings(options.ssl_mode(encryption.mode));
        let login = Login::new(&url, writing(options.clone()), encryption.clone());
        Ok(Self { name: name.to_owned(), encryption, options, login })
    }

    /// The only one of this URL, with no settings of ours.
    pub fn only(url: &str) -> Result<Self, Error> {
        let Address { urls, .. } = Address::read(url)?;
        match &*urls {
            [(name, url)] => Self::new(name, url, |options| options, |options| options),
            _ => Err(Error::Configuration("it names several hosts: name one".into())),
        }
    }

    /// With the file or the setting to look at, where encryption is the cause.
    pub fn explained(&self, why: Error) -> Error {
        self.encryption.explained(&self.name, why)
    }
}

impl Refused {
    fn for_now(why: &str) -> Self {
        Self { why: Error::Io(io::Error::other(why)), may_pass: true, is_standby: false }
    }

    fn silent(limit: Duration) -> Self {
        let why = format!("no answer within {limit:?}");
        Error::Io(io::Error::new(ErrorKind::TimedOut, why)).into()
    }
}

impl From<Error> for Refused {
    fn from(why: Error) -> Self {
        let may_pass = match &why {
            Error::Io(io) => io.kind() == ErrorKind::ConnectionRefused,
            Error::Database(refusal) => refusal.is_transient_in_connect_phase(),
            _ => false,
        };
        Self { why, may_pass, is_standby: false }
    }
}

/// Without sqlx's words around it.
fn told(why: &Error) -> String {
    match why {
        Error::Io(why) => why.to_string(),
        other => other.to_string(),
    }
}

/// A URL as libpq reads it, and one URL for each of its hosts.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    urls: Vec<(String, String)>,
    must_take_writes: bool,
}

impl Address {
    fn read(url: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::Configuration(why.into());
        // sqlx takes any scheme for Postgres.
        let (scheme, rest) = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| Some((*scheme, url.strip_prefix(scheme)?)))
            .ok_or_else(|| invalid("it does not begin with postgres://".into()))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let is_target = |setting: &&str| setting.starts_with("target_session_attrs=");
        let must_take_writes = match query.split('&').find(is_target).map(|it| &it[21..]) {
            None | Some("read-write" | "primary") => true,
            Some("any") => false,
            Some(other) => {
                let known = "a service writes, so it is read-write (or any)";
                return Err(invalid(format!("target_session_attrs={other}: {known}")));
            }
        };
        let settings: Vec<_> = query.split('&').filter(|it| !is_target(it)).collect();
        let settings = settings.join("&");
        let mark = if settings.is_empty() { "" } else { "?" };
        let of = |host: &str| {
            (host.to_owned(), format!("{scheme}{user}{host}{database}{mark}{settings}"))
        };
        Ok(Self { urls: hosts.split(',').map(of).collect(), must_take_writes })
    }
}

#[cfg(test)]
mod tests;
