//! Tests `saga up` and the commands around it as a person uses them: the real command on the real
//! servers and services, which must have been built (`cargo build --workspace`).

mod builds;
mod documents;
mod ends;
mod tarball;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use events::add_ons;
use kit::settings::{PORTS, port_of};
use nix::sys::signal::Signal;
use serde_json::Value;
use servers::{Process, Watchdog, ports};

/// A `SAGA_HOME` and ports of the test's own; everything left is removed with it.
struct Saga {
    program: PathBuf,
    home: PathBuf,
    variables: Vec<(&'static str, u16)>,
    gateway: &'static str,
    retry_delays: &'static str,
    tls: &'static str,
    api_keys: &'static str,
    watchdog: Watchdog,
}

impl Saga {
    fn new(name: &str) -> Self {
        let home = format!("{name}-{}", std::process::id());
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(home);
        let watchdog = Watchdog::start().unwrap();
        watchdog.deletes(&home).unwrap();
        let names = PORTS.into_iter().chain(add_ons().map(port_of));
        let variables = names.map(|name| (name, ports::free().unwrap())).collect();
        let (gateway, retry_delays) = ("simulated", "1s,5s,30s");
        let (tls, api_keys) = ("", "off");
        let program = env!("CARGO_BIN_EXE_saga").into();
        Self { program, home, variables, gateway, retry_delays, tls, api_keys, watchdog }
    }

    fn port(&self, variable: &str) -> u16 {
        let found = self.variables.iter().find(|(name, _)| *name == variable);
        found.unwrap().1
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("SAGA_HOME", &self.home).env("NO_COLOR", "1");
        command.env("GATEWAY", self.gateway).env("RETRY_DELAYS", self.retry_delays);
        command.env("TLS", self.tls);
        command.env("API_KEYS", self.api_keys).env_remove("QUADRILLE_KEY");
        command.envs(self.variables.iter().map(|(name, port)| (*name, port.to_string())));
        command
    }

    /// The command's output, once it has succeeded.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (said, complained) = text(&output);
        assert!(output.status.success(), "saga {arguments:?}: {said}{complained}");
        // If this test dies, its watchdog ends the background processes.
        for process in self.parts().into_iter().filter_map(|part| part.process) {
            self.watchdog.ends(process, Signal::SIGKILL).unwrap();
        }
        said
    }

    /// What it prints for programs, as its schema says.
    fn told(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let output = self.command(&arguments).output().unwrap();
        tidy::documented(&arguments, &text(&output).0)
    }

    fn parts(&self) -> Vec<Part> {
        let status = self.told(&["status"]);
        let parts = status["parts"].as_array().unwrap().iter();
        parts
            .map(|part| Part {
                name: part["name"].as_str().unwrap().to_owned(),
                ready: part["ready"].as_bool().unwrap(),
                process: part["pid"].as_u64().and_then(|pid| Process::of(pid.try_into().unwrap())),
            })
            .collect()
    }

    fn process(&self, name: &str) -> Process {
        let found = self.parts().into_iter().find(|part| part.name == name);
        found.unwrap().process.expect("it runs")
    }
}

/// Also when a test fails: the watchdog does not know RabbitMQ's helper processes.
impl Drop for Saga {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
    }
}

struct Part {
    name: String,
    ready: bool,
    process: Option<Process>,
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn everything_starts_is_mended_stops_keeps_its_data_and_is_deleted() {
    let saga = Saga::new("saga-up");
    let said = saga.run(&["up"]);
    let parts = saga.parts();
    assert_eq!(parts.len(), 9 + 2 * add_ons().count());
    assert!(parts.iter().all(|part| part.ready), "{said}");
    let order_port = saga.port("ORDER_HTTP_PORT");
    assert!(said.contains(&format!("curl -i http://127.0.0.1:{order_port}/orders")), "{said}");

    let said = saga.run(&["doctor"]);
    assert!(said.contains("nothing is wrong") && said.contains("as SAGA asks"), "{said}");
    let urls = saga.told(&["urls"]);
    assert_eq!(urls["page"], format!("http://127.0.0.1:{order_port}/"));

    let order = saga.process("order");
    // As where a killed `up` has not noted that RabbitMQ started.
    let mark = saga.home.join("rabbitmq/started-once");
    std::fs::remove_file(&mark).unwrap();
    assert!(saga.run(&["up"]).contains("up already"));
    assert!(mark.exists(), "the next start would delete RabbitMQ's data as half made");
    assert_eq!(saga.process("order"), order, "a second `up` leaves it alone");

    saga.process("payment").signal(Signal::SIGKILL);
    let (said, _) = text(&saga.command(&["doctor"]).output().unwrap());
    assert!(said.contains("✖ payment          has ended by itself"), "{said}");
    assert!(saga.run(&["up"]).contains("payment"), "`up` starts what is missing");
    assert_eq!(saga.process("order"), order);
    assert!(saga.parts().iter().all(|part| part.ready));

    for name in ["rabbitmq", "postgres payment", "shipping"] {
        let frozen = saga.process(name);
        frozen.signal(Signal::SIGSTOP);
        let mend = format!("`kill -CONT {}` lets it go on", frozen.pid);
        // What it does in the kernel is finished first.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let status = saga.told(&["status"]);
            let mut parts = status["parts"].as_array().unwrap().iter();
            let part = parts.find(|part| part["name"] == name).unwrap();
            let trouble = part["trouble"].as_str().unwrap_or_default();
            if part["ready"] == false && trouble.contains(&mend) {
                break;
            }
            assert!(Instant::now() < until, "{part}");
        }
        for command in ["up", "doctor"] {
            let output = saga.command(&[command]).output().unwrap();
            let (said, complained) = text(&output);
            let is_told = said.contains(&mend) || complained.contains(&mend);
            assert!(output.status.code() == Some(1) && is_told, "{command}: {said}{complained}");
        }
        frozen.signal(Signal::SIGCONT);
    }
    saga.run(&["up"]);

    let logs = saga.run(&["logs", "--no-follow", "-n", "1", "order", "shipping"]);
    let labels: Vec<_> = logs.lines().map(|line| line.split('|').next().unwrap().trim()).collect();
    assert_eq!(labels, ["order", "shipping"]);

    let mut other = saga.command(&["up"]);
    other.env("ORDER_DB_PORT", ports::free().unwrap().to_string());
    let (_, complained) = text(&other.output().unwrap());
    assert!(complained.contains("ORDER_DB_PORT="), "it runs on another port: {complained}");

    let processes: Vec<Process> = saga.parts().iter().filter_map(|part| part.process).collect();
    saga.run(&["stop"]);
    assert!(processes.iter().all(|process| !process.is_alive()));
    let data = saga.home.join("postgres-order/data");
    assert!(data.exists() && saga.parts().iter().all(|part| part.process.is_none()));
    assert!(saga.run(&["stop"]).contains("nothing runs"));

    saga.run(&["down"]);
    assert!(!saga.home.exists());
    saga.run(&["down"]);
}

#[test]
fn with_tls_every_link_is_encrypted_and_the_commands_find_the_certificates() {
    let mut saga = Saga::new("saga-tls");
    saga.tls = "1";
    let said = saga.run(&["up"]);
    assert!(
        saga.parts().iter().all(|part| part.ready)
            && saga.parts().len() == 9 + 2 * add_ons().count(),
        "{said}"
    );
    saga.tls = "";
    let urls = saga.told(&["urls"]);
    let authority = saga.home.join("certificates/ca.pem");
    let page = format!("https://127.0.0.1:{}/", saga.port("ORDER_HTTP_PORT"));
    assert_eq!([&urls["page"], &urls["authority"]], [&*page, authority.to_str().unwrap()]);
    assert!(said.contains(&format!("curl -i --cacert {} https://", authority.display())), "{said}");
    let mut curl = Command::new("curl");
    curl.args(["-sS", &page]);
    assert_eq!(curl.output().unwrap().status.code(), Some(60), "its authority is not known");
    curl.arg("--cacert").arg(&authority);
    let (seen, complained) = text(&curl.output().unwrap());
    assert!(seen.contains("<html"), "{seen}{complained}");
    let [amqp, database] = [&urls["amqp"], &urls["databases"]["order"]].map(|url| {
        let url = url.as_str().unwrap();
        url.split_once('?').unwrap_or_else(|| panic!("{url} has no certificates"))
    });
    assert!(amqp.0.starts_with("amqps://") && amqp.1.contains("auth_mechanism=external"));
    assert!(database.1.starts_with("sslmode=verify-full&sslrootcert="), "{database:?}");

    let placed = saga.run(&["order", "place", "--scenario", "confirmed", "--watch"]);
    assert!(placed.contains("CONFIRMED"), "{placed}");
    saga.run(&["verify"]);
    saga.run(&["dlq", "list"]);
    let said = saga.run(&["doctor"]);
    assert!(said.contains("nothing is wrong"), "{said}");

    // The servers take nothing else.
    let mut psql = Command::new("psql");
    psql.arg(format!("{}?sslmode=disable", database.0)).args(["-c", "SELECT 1"]);
    let (_, complained) = text(&psql.output().unwrap());
    assert!(complained.contains("no encryption"), "{complained}");

    let made = std::fs::read(&authority).unwrap();
    saga.tls = "0";
    let (_, complained) = text(&saga.command(&["up"]).output().unwrap());
    assert!(complained.contains("it runs with TLS=1"), "{complained}");
    saga.tls = "";
    saga.run(&["stop"]);
    saga.run(&["up"]);
    assert_eq!(std::fs::read(&authority).unwrap(), made, "they are kept");
    saga.run(&["verify"]);
    saga.run(&["down"]);
    assert!(!saga.home.exists());
}

#[test]
fn with_a_gateway_by_http_the_mock_one_runs_beside_the_services() {
    let mut saga = Saga::new("saga-gateway");
    saga.gateway = "http";
    let port = saga.port("MOCK_GATEWAY_PORT");
    assert!(saga.run(&["up"]).contains(&format!("http://127.0.0.1:{port}/behaviour")));
    assert!(
        saga.parts().iter().all(|part| part.ready)
            && saga.parts().len() == 10 + 2 * add_ons().count()
    );
    let placed = saga.run(&["order", "place", "--scenario", "confirmed", "--watch"]);
    assert!(placed.contains("CONFIRMED"), "{placed}");
    let books = std::fs::read_to_string(saga.home.join("mock-gateway/ledger")).unwrap();
    assert_eq!(books.lines().count(), 1, "the charge is in its books: {books}");
    saga.run(&["verify"]);

    saga.gateway = "simulated";
    let (_, complained) = text(&saga.command(&["up"]).output().unwrap());
    assert!(complained.contains("it runs with"), "payment still asks by HTTP: {complained}");
    saga.run(&["down"]);
    assert!(!saga.home.exists());
}

#[test]
fn where_keys_are_required_the_commands_have_an_operators() {
    let mut saga = Saga::new("saga-keys");
    saga.api_keys = "required";
    let file = saga.home.join("operator.key");
    let asks = |key: &str, arguments: &[&str]| {
        let mut command = saga.command(arguments);
        text(&command.env("QUADRILLE_KEY", key.trim()).output().unwrap())
    };
    let (out, err) = asks("qk_not-for-services", &["up"]);
    saga.run(&["up"]);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap();
    let again = saga.run(&["up"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key, "another `up` keeps it");
    // From a shell that does not have the setting, it must not come back without its door.
    let mut open = saga.command(&["up"]);
    let (_, complained) = text(&open.env("API_KEYS", "off").output().unwrap());
    assert!(complained.contains("it runs with API_KEYS=required: `saga stop` it"), "{complained}");
    let placed = saga.run(&["order", "place", "--scenario", "confirmed", "--watch"]);
    assert!(placed.contains("CONFIRMED"), "{placed}");

    let client = saga.run(&["keys", "create", "shop", "--as", "anna"]);
    // It is valid within two seconds.
    let mut tries = (0..400).map(|_| asks(&client, &["order", "list", "--json"]));
    let others = tries.find(|(said, _)| !said.is_empty()).expect("the key is valid");
    assert!(others.0.contains("\"orders\":[]"), "{others:?}");
    let id = client[3..19].to_owned();
    saga.run(&["keys", "revoke", &id, "--reason", "a test"]);
    assert!(asks("qk_1", &["order", "list"]).1.contains("QUADRILLE_KEY: it is not a key"));
    let audit = saga.run(&["audit", "--json"]);
    let told = tidy::documented(&["audit"], &audit);
    let what = |at: usize| (told[at]["what"].clone(), told[at]["reason"].clone());
    assert_eq!((what(0), &told[0]["who"]), (("key.create".into(), Value::Null), &"anna".into()));
    assert_eq!(what(1), ("key.revoke".into(), "a test".into()));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let lost = saga.command(&["keys", "create", "lost"]).stdout(full).output().unwrap();
    assert_eq!(lost.status.code(), Some(1), "its secret is lost");
    let keys = saga.told(&["keys", "list"]);
    let of_lost = keys.as_array().unwrap().iter().find(|key| key["client"] == "lost").unwrap();
    assert!(of_lost["revoked_at"].is_string(), "{}: {of_lost}", text(&lost).1);
    // It is in no environment of theirs, in no log, and in nothing that a command prints.
    for part in saga.parts() {
        let Some(process) = part.process else { continue };
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("qk_"), "{}", part.name);
    }
    let logs = std::fs::read_dir(saga.home.join("logs")).unwrap();
    let logs = logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap());
    let told = ["status", "doctor", "verify"].map(|command| saga.run(&[command]));
    for said in logs.chain(told).chain([out, err, again, audit]) {
        assert!(!said.contains(key.trim()) && !said.contains(client.trim()), "{said}");
    }
    saga.run(&["down"]);
    assert!(!file.exists());
}

#[test]
fn a_taken_port_is_named_with_its_variable_before_anything_starts() {
    let saga = Saga::new("saga-taken");
    let port = saga.port("SHIPPING_DB_PORT");
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = saga.command(&["up"]).output().unwrap();
    let (_, complained) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    let start = format!("port {port} (SHIPPING_DB_PORT) is taken by pid ");
    assert!(complained.starts_with(&format!("saga: {start}")), "{complained}");
    let output = saga.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = tidy::documented(&["doctor"], &text(&output).0);
    let mut findings = told["findings"].as_array().unwrap().iter();
    let ports = findings.find(|finding| finding["what"] == "ports").unwrap();
    assert_eq!((&told["well"], &ports["mark"]), (&false.into(), &"wrong".into()));
    assert!(ports["told"].as_str().unwrap().starts_with(&start), "{ports}");
    assert!(ports["mend"].as_str().unwrap().contains("set SHIPPING_DB_PORT"), "{ports}");
    assert!(!saga.home.exists());
}

#[test]
fn a_service_that_fails_shows_its_last_words_and_nothing_is_left_running() {
    let saga = Saga::new("saga-fails");
    let output = saga.command(&["up"]).env("PAYMENT_ATTEMPTS_MAX", "none").output().unwrap();
    let (_, complained) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(complained.contains("service ended while it started"), "{complained}");
    assert!(complained.contains("PAYMENT_ATTEMPTS_MAX"), "its log is shown: {complained}");
    assert!(saga.parts().iter().all(|part| part.process.is_none()));
    saga.run(&["down"]);
}

#[test]
fn a_directory_with_other_things_in_it_is_neither_taken_over_nor_deleted() {
    let saga = Saga::new("saga-home");
    std::fs::create_dir_all(&saga.home).unwrap();
    std::fs::write(saga.home.join("thesis.txt"), "years of work").unwrap();
    let output = saga.command(&["up"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).1.contains("contains other files"));
    saga.run(&["down"]);
    assert!(saga.home.join("thesis.txt").exists());
}
