//! Configures a private node: settings, environment, cookie and ports.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Membership, RabbitConfig, definitions};
use crate::{Certificates, background, install};

/// The ports that only the node itself uses, chosen anew at each start.
pub struct Network {
    pub epmd: u16,
    pub distribution: u16,
}

pub fn write_settings(
    config: &RabbitConfig,
    programs: &install::Programs,
    network: &Network,
) -> Result<()> {
    let dir = &config.dir;
    clear_half_made_data(config)?;
    let home = home(config);
    for dir in [dir, &home] {
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    }
    write_cookie(&home)?;
    // A queue would have one member if the first node of a cluster declared it.
    let additions = if config.cluster.is_some() { &[][..] } else { &config.definitions };
    let definitions = serde_json::to_string_pretty(&definitions::definitions(config, additions))?;
    write_private(&dir.join("definitions.json"), &definitions)?;
    let files = [
        ("enabled_plugins", plugins(config)),
        ("rabbitmq.conf", settings(config)),
        ("advanced.config", ADVANCED.to_owned()),
        // For an operator who wants to use rabbitmqctl on this node.
        ("environment", environment(config, programs, network)),
    ];
    for (name, text) in files {
        let file = dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// It holds passwords, which other users of this machine must not read.
fn write_private(file: &Path, text: &str) -> Result<()> {
    fs::remove_file(file).ok();
    let mut options = OpenOptions::new();
    let mut made = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    made.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

/// Records that a node, or a whole cluster, has been ready once.
pub fn note_first_start(dir: &Path) -> Result<()> {
    fs::write(dir.join(STARTED_ONCE), "").context("cannot note that RabbitMQ has started")
}

/// A node that was killed in its very first start may have left data that no node can start on; no
/// message can be in it yet. The same is true for the nodes of a cluster that was never complete.
fn clear_half_made_data(config: &RabbitConfig) -> Result<()> {
    let data = config.dir.join("data");
    if data.exists() && !shared_dir(config).join(STARTED_ONCE).exists() {
        fs::remove_dir_all(&data).with_context(|| format!("cannot delete {}", data.display()))?;
    }
    Ok(())
}

/// Quorum queues keep their log in memory until a file of this size is full, by default half a
/// gigabyte. RabbitMQ up to 4.2 reads the first setting, 4.3 and later the second; each ignores the
/// other, which in `rabbitmq.conf` would be an error.
const ADVANCED: &str = "\
[{ra, [{wal_max_size_bytes, 64000000}]},
 {rabbit, [{quorum_wal_max_size_bytes, 64000000}]}].
";

fn plugins(config: &RabbitConfig) -> String {
    let login = if config.tls.is_some() { ",rabbitmq_auth_mechanism_ssl" } else { "" };
    let metrics = if config.metrics_port.is_some() { ",rabbitmq_prometheus" } else { "" };
    format!("[rabbitmq_management{login}{metrics}].\n")
}

fn settings(config: &RabbitConfig) -> String {
    let RabbitConfig { port, management_port, .. } = config;
    let listener = match &config.tls {
        None => format!("listeners.tcp.1 = 127.0.0.1:{port}\n"),
        Some(certificates) => encrypted_listener(*port, certificates),
    };
    let definitions = config.dir.join("definitions.json");
    let definitions = definitions.display();
    format!(
        "{listener}\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management_port}\n\
         load_definitions = {definitions}\n\
         loopback_users = none\n\
         disk_free_limit.absolute = 200MB\n\
         vm_memory_high_watermark.relative = 0.4\n\
         max_message_size = 1048576\n\
         log.file = rabbit.log\n\
         log.file.level = info\n\
         log.console = false\n"
    ) + &config.metrics_port.map(metrics_listener).unwrap_or_default()
        + &config.cluster.as_ref().map(cluster_settings).unwrap_or_default()
}

fn metrics_listener(port: u16) -> String {
    format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n")
}

/// A client without a certificate of the authority is refused; with one, it needs no password.
fn encrypted_listener(port: u16, certificates: &Certificates) -> String {
    let (certificate, key) = certificates.server();
    format!(
        "listeners.tcp = none\n\
         listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         auth_mechanisms.1 = EXTERNAL\n\
         auth_mechanisms.2 = PLAIN\n\
         ssl_cert_login_from = common_name\n",
        certificates.authority().display(),
        certificate.display(),
        key.display()
    )
}

/// Peers are found by name. A node that sees no majority pauses, since its copy of the topology may
/// be old; and the leaders of queues are spread over the nodes.
fn cluster_settings(membership: &Membership) -> String {
    let key = "cluster_formation.classic_config.nodes";
    let nodes = (1..=membership.size).map(|at| format!("{key}.{at} = {}\n", Membership::node(at)));
    "cluster_formation.peer_discovery_backend = classic_config\n".to_owned()
        + &nodes.collect::<String>()
        + "cluster_partition_handling = pause_minority\n\
           queue_leader_locator = balanced\n"
}

/// The directory of what a node shares with the others of its cluster.
fn shared_dir(config: &RabbitConfig) -> &Path {
    config.cluster.as_ref().map_or(&config.dir, |membership| &membership.dir)
}

/// Where the cookie is.
fn home(config: &RabbitConfig) -> PathBuf {
    shared_dir(config).join("home")
}

fn environment(config: &RabbitConfig, programs: &install::Programs, network: &Network) -> String {
    let erlang =
        programs.erlang.iter().map(|it| format!("export PATH='{}':\"$PATH\"\n", it.display()));
    erlang.collect::<String>()
        + &format!(
            "export HOME='{}' ERL_EPMD_PORT={} RABBITMQ_NODENAME={} \
         RABBITMQ_CONF_ENV_FILE=/dev/null\n",
            home(config).display(),
            network.epmd,
            name(config),
        )
}

const STARTED_ONCE: &str = "started-once";

/// Unique by its epmd: no other node is registered there.
fn name(config: &RabbitConfig) -> String {
    let member = config.cluster.as_ref().map(|membership| Membership::node(membership.number));
    member.unwrap_or_else(|| "quadrille@localhost".to_owned())
}

pub fn epmd_command(programs: &install::Programs, port: u16) -> Command {
    let mut command = background(&programs.epmd);
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]).current_dir("/");
    command
}

pub fn command(config: &RabbitConfig, programs: &install::Programs, network: &Network) -> Command {
    let dir = &config.dir;
    let mut command = background(programs.rabbitmq.join("rabbitmq-server"));
    let path = std::env::var("PATH").unwrap_or_default();
    let erlang = programs.erlang.iter().map(|it| format!("{}:", it.display())).collect::<String>();
    command
        .env_clear()
        .env("PATH", format!("{erlang}{path}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("LANG", "C.UTF-8")
        .env("HOME", home(config))
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", network.epmd.to_string())
        .env("ERL_CRASH_DUMP", dir.join("erl_crash.dump"))
        // With this the script execs the node, instead of waiting for it: one pid for both.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_NODENAME", name(config))
        .env("RABBITMQ_DIST_PORT", network.distribution.to_string())
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
        .env("RABBITMQ_LOG_BASE", dir.join("log"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("generated"))
        .env("RABBITMQ_PLUGINS_EXPAND_DIR", dir.join("plugins"))
        .env("RABBITMQ_PID_FILE", dir.join("node.pid"))
        // Erlang must not start an epmd of its own, which would outlive the node. A node of a
        // cluster starts a second Erlang for a moment, which inherits this.
        .env("ERL_AFLAGS", "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments(config, network))
        .current_dir(dir);
    command
}

fn arguments(config: &RabbitConfig, network: &Network) -> String {
    let (name, port) = (name(config), network.distribution);
    // Idle threads sleep at once: other processes need the processor. A node that has its name from
    // the start needs no second Erlang to check whether epmd runs. A silent node is given up after
    // some six seconds instead of sixty: until then those hang that send to it. In rabbitmq.conf
    // this would take effect only after a minute. RabbitMQ 4.3 keeps the messages of its consumers
    // for another minute, where others can have them; older ones do not know this in rabbitmq.conf.
    format!(
        "+sbwt none +sbwtdcpu none +sbwtdio none -sname {name} -kernel net_ticktime 6 \
         -rabbit consumer_disconnected_timeout 2000 \
         -kernel inet_dist_listen_min {port} -kernel inet_dist_listen_max {port}"
    )
}

/// The secret that nodes of one cluster share.
fn write_cookie(home: &Path) -> Result<()> {
    let file = home.join(".erlang.cookie");
    if file.exists() {
        return Ok(());
    }
    let mut random = [0_u8; 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    let cookie: String = random.iter().map(|byte| char::from(b'A' + byte % 26)).collect();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(&file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    file.write_all(cookie.as_bytes())?;
    Ok(())
}
