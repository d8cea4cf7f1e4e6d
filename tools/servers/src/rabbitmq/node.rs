//! Configures a private node: settings, environment, cookie and ports.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{RabbitConfig, definitions};
use crate::{background, install};

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
    clear_half_made_data(dir)?;
    fs::create_dir_all(dir.join("home"))
        .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    write_cookie(&dir.join("home/.erlang.cookie"))?;
    let definitions = serde_json::to_string_pretty(&definitions::definitions(config))?;
    let files = [
        ("definitions.json", definitions),
        ("enabled_plugins", "[rabbitmq_management].\n".to_owned()),
        ("rabbitmq.conf", settings(config)),
        ("advanced.config", ADVANCED.to_owned()),
        // For an operator who wants to use rabbitmqctl on this node.
        ("environment", environment(dir, programs, network)),
    ];
    for (name, text) in files {
        let file = dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Records that a node has been ready once.
pub fn note_first_start(dir: &Path) -> Result<()> {
    fs::write(dir.join(STARTED_ONCE), "").context("cannot note that RabbitMQ has started")
}

/// A node that was killed in its very first start may have left data that no node can start on; no
/// message can be in it yet.
fn clear_half_made_data(dir: &Path) -> Result<()> {
    let data = dir.join("data");
    if data.exists() && !dir.join(STARTED_ONCE).exists() {
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

fn settings(config: &RabbitConfig) -> String {
    let RabbitConfig { port, management_port, .. } = config;
    let definitions = config.dir.join("definitions.json");
    let definitions = definitions.display();
    format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
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
    )
}

fn environment(dir: &Path, programs: &install::Programs, network: &Network) -> String {
    let erlang =
        programs.erlang.iter().map(|it| format!("export PATH='{}':\"$PATH\"\n", it.display()));
    erlang.collect::<String>()
        + &format!(
            "export HOME='{}' ERL_EPMD_PORT={} RABBITMQ_NODENAME={NODE_NAME} \
         RABBITMQ_CONF_ENV_FILE=/dev/null\n",
            dir.join("home").display(),
            network.epmd
        )
}

const STARTED_ONCE: &str = "started-once";

/// Unique by its epmd: no other node is registered there.
const NODE_NAME: &str = "quadrille@localhost";

pub fn epmd_command(programs: &install::Programs, network: &Network) -> Command {
    let mut command = background(&programs.epmd);
    command.args(["-address", "127.0.0.1", "-port", &network.epmd.to_string()]).current_dir("/");
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
        .env("HOME", dir.join("home"))
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", network.epmd.to_string())
        .env("ERL_CRASH_DUMP", dir.join("erl_crash.dump"))
        // With this the script execs the node, instead of waiting for it: one pid for both.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_NODENAME", NODE_NAME)
        .env("RABBITMQ_DIST_PORT", network.distribution.to_string())
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
        .env("RABBITMQ_LOG_BASE", dir.join("log"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", dir.join("generated"))
        .env("RABBITMQ_PLUGINS_EXPAND_DIR", dir.join("plugins"))
        .env("RABBITMQ_PID_FILE", dir.join("node.pid"))
        // Erlang must not start an epmd of its own, which would outlive the node.
        .env("ERL_AFLAGS", "-start_epmd false")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments(network))
        .current_dir(dir);
    command
}

fn arguments(network: &Network) -> String {
    let port = network.distribution;
    // Idle threads sleep at once: other processes need the processor. A node that has its name from
    // the start needs no second Erlang to check whether epmd runs.
    format!(
        "+sbwt none +sbwtdcpu none +sbwtdio none -sname {NODE_NAME} \
         -kernel inet_dist_use_interface {{127,0,0,1}} \
         -kernel inet_dist_listen_min {port} -kernel inet_dist_listen_max {port}"
    )
}

/// The secret that nodes of one cluster share; this one is a cluster of its own.
fn write_cookie(file: &Path) -> Result<()> {
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
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    file.write_all(cookie.as_bytes())?;
    Ok(())
}
