//! Makes the certificates of a private system: a throw-away authority, and what it has signed. Its
//! key is not kept.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

const VALID_DAYS: i64 = 365;
/// They are made anew from this age on.
const KEPT: Duration = Duration::from_hours(24 * 180);
const DAY_S: i64 = 24 * 60 * 60;

/// The name of the servers' certificate.
pub const SERVER: &str = "server";
const AUTHORITY: &str = "ca";

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// In PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let mut own = params(&[], "quadrille's throw-away authority")?;
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(own, KeyPair::generate()?)?))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server with these names and addresses, valid for so many days; below zero it has
    /// expired.
    pub fn server(&self, names: &[&str], days: i64) -> Result<Signed> {
        let mut own = params(names, names.first().unwrap_or(&SERVER))?;
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(own, days)
    }

    /// For a client that logs in with this name.
    pub fn client(&self, login: &str, days: i64) -> Result<Signed> {
        let mut own = params(&[], login)?;
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(own, days)
    }

    fn sign(&self, mut own: CertificateParams, days: i64) -> Result<Signed> {
        own.not_after = in_days(days);
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let signed = own.signed_by(&key, &self.0)?;
        Ok(Signed { certificate: signed.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &[&str], common_name: &str) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut own = CertificateParams::new(names)?;
    own.distinguished_name = DistinguishedName::new();
    own.distinguished_name.push(DnType::CommonName, common_name);
    // Clocks differ.
    own.not_before = in_days(-2 * VALID_DAYS);
    own.not_after = in_days(VALID_DAYS);
    Ok(own)
}

fn in_days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::seconds(days * DAY_S)
}

/// A directory of certificates in PEM: the authority's, the servers' and one a login.
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes all of them anew: for servers with these names, and for these logins.
    pub fn make(dir: &Path, servers: &[&str], logins: &[&str]) -> Result<Self> {
        Self::signed_by(&Authority::new()?, dir, servers, logins)
    }

    pub fn signed_by(
        authority: &Authority,
        dir: &Path,
        servers: &[&str],
        logins: &[&str],
    ) -> Result<Self> {
        let new = dir.with_extension("new");
        let failed = || format!("cannot write the certificates into {}", dir.display());
        fs::remove_dir_all(&new).ok();
        fs::create_dir_all(&new).with_context(failed)?;
        let made = Self { dir: new.clone() };
        fs::write(made.authority(), authority.pem()).with_context(failed)?;
        made.write(SERVER, &authority.server(servers, VALID_DAYS)?).with_context(failed)?;
        for login in logins {
            made.write(login, &authority.client(login, VALID_DAYS)?).with_context(failed)?;
        }
        fs::remove_dir_all(dir).ok();
        fs::rename(&new, dir).with_context(failed)?;
        Ok(Self::at(dir))
    }

    /// Whether each login has one, and they are not about to expire.
    pub fn serve(&self, logins: &[&str]) -> bool {
        let made = fs::metadata(self.authority()).and_then(|found| found.modified());
        let age = made.ok().and_then(|made| made.elapsed().ok());
        let are_there = logins.iter().all(|login| self.key(login).is_file());
        are_there && age.is_some_and(|age| age < KEPT)
    }

    /// Replaces a certificate and its key.
    pub fn write(&self, name: &str, signed: &Signed) -> Result<()> {
        let (certificate, key) = (self.certificate(name), self.key(name));
        fs::write(certificate, &signed.certificate)?;
        fs::remove_file(&key).ok();
        let mut options = OpenOptions::new();
        let mut key = options.write(true).create_new(true).mode(0o600).open(key)?;
        Ok(key.write_all(signed.key.as_bytes())?)
    }

    /// Copies the authority's and those of these names into a directory, with keys that every
    /// account can read: for a container that sees no other directory.
    pub fn lend(&self, names: &[&str], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let copies = Self::at(dir);
        let file = |it: &Self, name: &str| [it.certificate(name), it.key(name)];
        let pairs =
            names.iter().flat_map(|name| file(self, name).into_iter().zip(file(&copies, name)));
        for (from, to) in pairs.chain([(self.authority(), copies.authority())]) {
            fs::copy(from, &to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    pub fn authority(&self) -> PathBuf {
        self.certificate(AUTHORITY)
    }

    pub fn certificate(&self, login: &str) -> PathBuf {
        self.dir.join(format!("{login}.pem"))
    }

    pub fn key(&self, login: &str) -> PathBuf {
        self.dir.join(format!("{login}.key"))
    }

    /// The servers'.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.certificate(SERVER), self.key(SERVER))
    }

    /// The parameters of an `amqps://` URL with which this login connects, by its certificate.
    pub fn amqp_parameters(&self, login: &str) -> String {
        let [authority, certificate, key] = self.encoded(login);
        format!(
            "cacertfile={authority}&certfile={certificate}&keyfile={key}&auth_mechanism=external"
        )
    }

    /// The parameters of a `postgres://` URL.
    pub fn postgres_parameters(&self, login: &str) -> String {
        let [authority, certificate, key] = self.encoded(login);
        format!("sslmode=verify-full&sslrootcert={authority}&sslcert={certificate}&sslkey={key}")
    }

    fn encoded(&self, login: &str) -> [String; 3] {
        [self.authority(), self.certificate(login), self.key(login)].map(|path| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
            let path = path.display().to_string();
            let byte = |byte: u8| match plain(&byte) {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            };
            path.bytes().map(byte).collect()
        })
    }
}
