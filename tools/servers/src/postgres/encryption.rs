//! Encrypts a server's connections: no other is accepted, and each client has a certificate with
//! the name of its user.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{PostgresConfig, cluster, initdb};
use crate::Certificates;
use crate::account::Account;

const SUPERUSER: &str = "postgres";
const ACCESS: &str = "\
hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl replication all 127.0.0.1/32 scram-sha-256 clientcert=verify-full
";

/// Gives the server copies of its files: it reads no key of another account's.
pub fn prepare(config: &PostgresConfig, account: Account) -> Result<()> {
    let Some(certificates) = &config.tls else { return Ok(()) };
    let dir = dir(&config.dir);
    let failed = || format!("cannot copy the certificates to {}", dir.display());
    initdb::remove(&dir)?;
    DirBuilder::new().mode(0o700).create(&dir).with_context(failed)?;
    let copies = Certificates::at(&dir);
    let (server, server_key) = certificates.server();
    let (own, own_key) = copies.server();
    let files = [
        (certificates.authority(), copies.authority()),
        (server, own),
        (server_key, own_key),
        (certificates.certificate(SUPERUSER), copies.certificate(SUPERUSER)),
        (certificates.key(SUPERUSER), copies.key(SUPERUSER)),
    ];
    for (from, to) in files {
        // With its mode.
        fs::copy(&from, &to).with_context(failed)?;
        account.give(&to)?;
    }
    let access = dir.join("pg_hba.conf");
    fs::write(&access, ACCESS).with_context(failed)?;
    account.give(&access)?;
    account.give(&dir)
}

pub fn settings(config: &PostgresConfig) -> String {
    if config.tls.is_none() {
        return String::new();
    }
    let dir = dir(&config.dir);
    let copies = Certificates::at(&dir);
    let (certificate, key) = copies.server();
    format!(
        "ssl = on\nssl_ca_file = '{}'\nssl_cert_file = '{}'\nssl_key_file = '{}'\n\
         hba_file = '{}'\n",
        copies.authority().display(),
        certificate.display(),
        key.display(),
        dir.join("pg_hba.conf").display()
    )
}

/// The superuser's settings for libpq, by the files of this directory.
pub fn variables(certificates: &Certificates) -> [(&'static str, PathBuf); 4] {
    [
        ("PGSSLMODE", "verify-full".into()),
        ("PGSSLROOTCERT", certificates.authority()),
        ("PGSSLCERT", certificates.certificate(SUPERUSER)),
        ("PGSSLKEY", certificates.key(SUPERUSER)),
    ]
}

/// The same for a program that runs as the server's account.
pub fn copied_variables(config: &PostgresConfig) -> Vec<(&'static str, PathBuf)> {
    let copies = config.tls.as_ref().map(|_| Certificates::at(&dir(&config.dir)));
    copies.iter().flat_map(variables).collect()
}

/// Beside the data, where the account can read it.
pub fn dir(server: &Path) -> PathBuf {
    let data = cluster::data(server);
    fs::read_link(&data).unwrap_or(data).with_extension("tls")
}
