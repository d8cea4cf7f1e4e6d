//! Runs `compose.sh start` on a copy of the files, with a `docker` that only writes down what it is
//! told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use observability::{cluster, compose};
use tempfile::TempDir;
use tidy::root;

const DOCKER: &str = "#!/bin/sh\necho \"$QUADRILLE_DEFINITIONS\" >>\"$RECORD\"\n";

struct Copy(TempDir);

impl Copy {
    fn make() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        let mut copied = Command::new("cp");
        copied.arg("-a").args(["deploy", "docker-compose.yml"].map(|path| root().join(path)));
        assert!(copied.arg(copy.0.path()).status().unwrap().success());
        let opened = Command::new("chmod").args(["-R", "o+rX"]).arg(copy.path("deploy")).status();
        assert!(opened.unwrap().success());
        fs::create_dir(copy.path("bin")).unwrap();
        fs::write(copy.path("bin/docker"), DOCKER).unwrap();
        copy.set_mode("bin/docker", 0o755);
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn start(&self, settings: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.path("bin").display());
        let mut start = Command::new("bash");
        start.args(["-c", "umask 077; exec bash \"$1\" start", "bash"]);
        start.arg(self.path("deploy/docker/compose.sh")).env_clear();
        start.env("PATH", path).env("RECORD", self.path("record"));
        start.envs(settings.iter().copied()).output().unwrap()
    }

    /// What it is refused with.
    fn refusal(&self, settings: &[(&str, &str)]) -> String {
        let output = self.start(settings);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn what_the_containers_could_not_read_is_named_and_nothing_is_started() {
    let copy = Copy::make();
    assert!(copy.start(&[]).status.success());
    copy.set_mode("deploy/postgres/init.sh", 0o640);
    let said = copy.refusal(&[]);
    assert!(said.contains("deploy/postgres/init.sh") && said.contains("chmod -R o+rX deploy"));
    copy.set_mode("deploy/postgres/init.sh", 0o644);
    copy.set_mode("deploy/observability/grafana/dashboards", 0o750);
    assert!(copy.refusal(&[]).contains("deploy/observability/grafana/dashboards"));
    copy.set_mode("deploy/observability/grafana/dashboards", 0o755);
    // A folder of secrets may be closed, but not what is in it.
    let own = [("SECRETS_DIR", "deploy/docker/secrets")];
    copy.set_mode("deploy/docker/secrets", 0o700);
    assert!(copy.start(&own).status.success());
}

#[test]
fn the_operators_url_is_readable_in_a_closed_folder() {
    let copy = Copy::make();
    assert!(copy.start(&[("RABBITMQ_PASSWORD", "other")]).status.success());
    let mode = |name| fs::metadata(copy.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".docker"), 0o700);
    assert_eq!(mode(".docker/operator-amqp-url"), 0o644);
}

/// Compose makes a container anew when its labels change, and not when a file does.
#[test]
fn a_changed_definition_changes_the_label_of_what_imports_it() {
    let copy = Copy::make();
    let noted = || {
        fs::write(copy.path("record"), "").unwrap();
        assert!(copy.start(&[]).status.success());
        let record = fs::read_to_string(copy.path("record")).unwrap();
        let line = record.lines().next_back().unwrap().to_owned();
        assert!(!line.is_empty(), "{record}");
        line
    };
    let before = noted();
    assert_eq!(noted(), before);
    for name in ["topology.json", "users.json", "rabbitmq.conf"] {
        let (file, before) = (copy.path(&format!("deploy/rabbitmq/{name}")), noted());
        fs::write(&file, fs::read_to_string(&file).unwrap() + "\n").unwrap();
        assert_ne!(noted(), before, "{name}");
    }
    let (compose, cluster) = (compose(), cluster());
    for service in [&compose["services"]["rabbitmq"], &cluster["services"]["rabbitmq-import"]] {
        let label = &service["labels"]["quadrille.definitions"];
        assert_eq!(*label, "${QUADRILLE_DEFINITIONS:-}");
    }
}
