//! The services' databases: their addresses, and their passwords in containers.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use servers::Certificates;

use super::{Listener, SUPERUSER_PASSWORD, Settings, encoded};

/// A service's own Postgres; database and user have the same name. It has passwords, and so no
/// `Debug`.
#[derive(Clone)]
pub struct Database {
    pub service: &'static str,
    pub name: &'static str,
    /// As it stands in a URL.
    password: String,
    superuser_password: String,
    pub port: u16,
    pub variable: &'static str,
    pub tls: Option<Certificates>,
}

impl Database {
    pub(super) fn of(
        service: &'static str,
        name: &'static str,
        (port, variable): Listener,
    ) -> Self {
        let (password, superuser_password) = (name.to_owned(), SUPERUSER_PASSWORD.to_owned());
        Self { service, name, password, superuser_password, port, variable, tls: None }
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The superuser's, at one of its servers.
    pub fn superuser_url_at(&self, port: u16) -> String {
        let (password, tls) = (&self.superuser_password, self.tls_parameters("postgres"));
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres{tls}")
    }

    /// The same at another of its servers.
    pub fn url_at(&self, port: u16) -> String {
        let (name, password, tls) = (self.name, &self.password, self.tls_parameters(self.name));
        format!("postgres://{name}:{password}@127.0.0.1:{port}/{name}{tls}")
    }

    fn tls_parameters(&self, login: &str) -> String {
        let tls = self.tls.as_ref().map(|tls| format!("?{}", tls.postgres_parameters(login)));
        tls.unwrap_or_default()
    }
}

impl Settings {
    /// With those of the files in `SECRETS_DIR`, which Compose mounts. What is missing is as usual.
    pub(super) fn with_passwords(mut self, folder: &Path) -> Result<Self> {
        let superuser = read(&folder.join("postgres-password"))?.map(|it| encoded(&it));
        for database in &mut self.databases {
            let url = read(&folder.join(format!("{}-database-url", database.service)))?;
            if let Some(password) = url.as_deref().and_then(password_in) {
                password.clone_into(&mut database.password);
            }
            if let Some(password) = &superuser {
                password.clone_into(&mut database.superuser_password);
            }
        }
        Ok(self)
    }
}

fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => {
            Err(why).with_context(|| format!("cannot read {} of SECRETS_DIR", file.display()))
        }
    }
}

/// As it stands there. A URL of a cluster has several hosts.
fn password_in(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (login, _) = rest.split_once('@')?;
    login.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passwords_of_containers_are_those_that_compose_mounts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "order-database-url",
            "postgres://orders:p%20q@order-db:5432,order-db-2:5432/orders\n",
        );
        write("postgres-password", "s e\n");
        let usual = Settings::from(|_| None).unwrap();
        let own = usual.clone().with_passwords(folder.path()).unwrap();
        let (order, payment) = (own.database("order").unwrap(), own.database("payment").unwrap());
        assert_eq!(order.url(), "postgres://orders:p%20q@127.0.0.1:5433/orders");
        assert_eq!(payment.url(), "postgres://payments:payments@127.0.0.1:5434/payments");
        let superuser = "postgres://postgres:s%20e@127.0.0.1:5443/postgres";
        assert_eq!(order.superuser_url_at(5443), superuser);
        let none = usual.clone().with_passwords(&folder.path().join("none")).unwrap();
        assert_eq!(none.database("order").unwrap().url(), usual.database("order").unwrap().url());
        fs::create_dir(folder.path().join("shipping-database-url")).unwrap();
        let Err(why) = usual.with_passwords(folder.path()) else { panic!("it is a folder") };
        assert!(why.to_string().contains("shipping-database-url"), "{why}");
    }
}
