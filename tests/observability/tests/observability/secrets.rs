//! Secrets of containers are files: neither `docker inspect` nor `/proc` shows one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use observability::{array, compose, layer, text};
use serde_json::Value;
use tidy::root;

fn files() -> Vec<(&'static str, Value)> {
    let layers = ["cluster", "tls", "tls-cluster"].map(|name| (name, layer(name)));
    layers.into_iter().chain([("compose", compose())]).collect()
}

/// The environment, labels, arguments and checks of every container, line by line: `NAME=value`
/// where there is a name.
fn shown() -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for (file, compose) in files() {
        for (name, service) in compose["services"].as_object().unwrap() {
            for part in ["environment", "labels", "command", "entrypoint", "healthcheck", "build"] {
                lines(&service[part], "", &mut |line| {
                    shown.push((format!("{file}, {name}"), line));
                });
            }
        }
    }
    shown
}

fn lines(value: &Value, name: &str, say: &mut dyn FnMut(String)) {
    match value {
        Value::Object(all) => all.iter().for_each(|(name, value)| lines(value, name, say)),
        Value::Array(all) => all.iter().for_each(|value| lines(value, name, say)),
        Value::Null => {}
        Value::String(text) if name.is_empty() || text.contains('=') => say(text.clone()),
        other => say(format!("{name}={}", other.as_str().unwrap_or(&other.to_string()))),
    }
}

/// `scheme://user:password@host`
fn has_password(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', ' ']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(login, _)| login.replace(":-", "").contains(':'))
    })
}

/// `NAME=value` where the name says that the value is a secret, and not its file.
fn is_secret(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let secret = ["PASSWORD", "PASSWD", "COOKIE", "TOKEN", "SECRET", "_KEY"];
    secret.iter().any(|end| name.ends_with(end)) && !value.starts_with('/')
}

#[test]
fn no_password_is_in_an_environment_a_label_or_an_argument() {
    let shown = shown();
    assert!(shown.len() > 100, "{}", shown.len());
    for (place, line) in shown {
        assert!(!has_password(&line), "{place}: {line}");
        assert!(!is_secret(&line), "{place}: {line}");
        assert!(!line.contains("_PASSWORD:-") && !line.contains("_PASSWORD}"), "{place}: {line}");
    }
    assert!(has_password("A=amqp://order:order@rabbitmq:5672/%2f") && is_secret("A_PASSWORD=x"));
    assert!(!has_password("A=amqps://${USER:-admin}@rabbitmq:5672/%2f?a=b@c:d"));
}

#[test]
fn every_secret_is_a_file_and_every_file_a_secret() {
    let mut mounted = BTreeSet::new();
    let mut named = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for (_, compose) in files() {
        for service in compose["services"].as_object().unwrap().values() {
            mounted.extend(array(&service["secrets"]).iter().map(|it| text(it).to_owned()));
        }
        for (name, secret) in compose["secrets"].as_object().into_iter().flatten() {
            named.insert(name.clone());
            let path = text(&secret["file"]);
            let (_, path) = path.rsplit_once("./").expect("a file of this folder");
            paths.insert(path.replace('}', ""));
        }
    }
    assert_eq!(mounted, named);
    let folder = "deploy/docker/secrets";
    let here = tidy::list(folder).into_iter().chain(tidy::list(&format!("{folder}/cluster")));
    let here = here.filter(|path| root().join(path).is_file() && !path.ends_with("README.md"));
    assert_eq!(paths, here.collect());
}

#[test]
fn a_databases_role_gets_the_password_of_its_services_url() {
    for (name, database) in compose()["services"].as_object().unwrap() {
        let Some(service) = name.strip_suffix("-db") else { continue };
        let secret = format!("{service}-database-url");
        let mounted: Vec<_> = array(&database["secrets"]).iter().map(text).collect();
        assert_eq!(mounted, ["postgres-password", &secret], "{name}");
        let file = &database["environment"]["DATABASE_URL_FILE"];
        assert_eq!(text(file), format!("/run/secrets/{secret}"));
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    fs::write(path("psql"), "#!/bin/sh\necho \"$SERVICE_DB $password\"\n").unwrap();
    fs::set_permissions(path("psql"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |url: &str| {
        fs::write(path("url"), url).unwrap();
        fs::create_dir_all(path("data/base")).unwrap();
        let mut init = Command::new("sh");
        init.arg(root().join("deploy/postgres/init.sh"));
        init.env("PATH", format!("{}:/usr/bin:/bin", scratch.path().display()));
        init.env("DATABASE_URL_FILE", path("url")).env("PGDATA", path("data"));
        init.env("SERVICE_DB", "orders").env("POSTGRES_USER", "postgres");
        let output = init.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let of_cluster = "postgres://orders:a-1~B@order-db:5432,order-db-2:5432/orders?a=b@c:d\n";
    assert_eq!(run(of_cluster).unwrap(), "orders a-1~B\n");
    assert!(path("data/base").exists());
    for refused in ["postgres://orders@order-db:5432/orders", "postgres://orders:a%20b@order-db/o"]
    {
        assert_eq!(run(refused), None, "{refused}");
        assert!(!path("data/base").exists(), "the next start would go on without the role");
    }
}
