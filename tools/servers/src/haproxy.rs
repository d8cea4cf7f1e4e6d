//! A private HAProxy before the copies of an HTTP service, on 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::running::Running;
use crate::tail::with_log;
use crate::{Lifetime, Process, background, install, ports, until};

const START_BOUND: Duration = Duration::from_secs(10);
const STOP_BOUND: Duration = Duration::from_secs(5);
const KILLED_BY: Signal = Signal::SIGTERM;

#[derive(Clone)]
pub struct HaProxyConfig {
    /// Holds the settings, the log and the pid file. Created if missing.
    pub dir: PathBuf,
    pub port: u16,
    /// The copies' ports.
    pub copies: Vec<u16>,
    /// The path that a copy answers with 200 while it can take requests.
    pub probe: &'static str,
    pub lifetime: Lifetime,
}

pub struct HaProxy {
    running: Running,
    port: u16,
}

impl HaProxy {
    /// Starts it and returns when it listens; a copy may start later.
    pub async fn start(config: &HaProxyConfig) -> Result<Self> {
        let dir = std::path::absolute(&config.dir)?;
        if let Some(process) = Process::recorded(&pid_file(&dir)) {
            bail!("HAProxy in {} runs already as pid {}", dir.display(), process.pid);
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("haproxy.cfg");
        let address = format!("127.0.0.1:{}", config.port);
        fs::write(
            &file,
            settings(&address, config.probe, &servers(config, CHECK), &servers(config, "")),
        )
        .with_context(|| format!("cannot write {}", file.display()))?;

        let mut command = background(install::haproxy()?);
        command.args(["-db", "-f"]).arg(&file).current_dir("/");
        let (log, pid_file) = (dir.join("server.log"), pid_file(&dir));
        let lifetime = &config.lifetime;
        let running = Running::start(&mut command, &log, pid_file, KILLED_BY, lifetime)?;
        let mut server = Self { running, port: config.port };
        let ready = server.ready().await;
        ready.map_err(|error| with_log(&error, &log))?;
        server.running.lives(&config.lifetime);
        Ok(server)
    }

    /// The one that was left running in the background in this directory, if any.
    pub fn attach(config: &HaProxyConfig) -> Result<Option<Self>> {
        let dir = std::path::absolute(&config.dir)?;
        let running = Running::attach(pid_file(&dir), KILLED_BY);
        Ok(running.map(|running| Self { running, port: config.port }))
    }

    async fn ready(&self) -> Result<()> {
        let settled = until(START_BOUND, || match self.running.is_alive() {
            true => ports::is_listened_on(self.port).then_some(true),
            false => Some(false),
        });
        let port = self.port;
        ensure!(settled.await == Some(true), "HAProxy does not listen on port {port}");
        Ok(())
    }

    pub fn process(&self) -> Process {
        self.running.process
    }

    pub fn is_ready(&self) -> bool {
        let runs = self.running.is_alive() && !self.process().is_frozen();
        runs && ports::is_listened_on(self.port)
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.running.end(&[(KILLED_BY, STOP_BOUND)]).await
    }
}

fn pid_file(dir: &Path) -> PathBuf {
    dir.join("server.pid")
}

/// While no copy is ready they get the requests all the same: without a broker they still take
/// orders, and otherwise say why not.
///
/// A stream of events sends something every few seconds, so that only a dead one is cut. A request
/// whose copy cannot be reached goes to another; one that a copy may have begun is not repeated.
///
/// The copies stand in both backends, in `checked` with a health check.
fn settings(address: &str, probe: &str, checked: &str, unchecked: &str) -> String {
    format!(
        "global
    log stdout format raw local0 notice
    maxconn 4096

defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    timeout http-request 15s
    timeout http-keep-alive 60s
    retries 3
    option redispatch 1
    option forwardfor

frontend requests
    bind {address}
    http-request del-header X-Forwarded-For
    use_backend unready if {{ nbsrv(copies) eq 0 }}
    default_backend copies

backend copies
    balance leastconn
    option httpchk
    http-check send meth GET uri {probe} ver HTTP/1.1 hdr Host 127.0.0.1
{checked}
backend unready
    balance leastconn
{unchecked}"
    )
}

const CHECK: &str = " check inter 500ms fall 2 rise 1";

fn servers(config: &HaProxyConfig, check: &str) -> String {
    let copies = (1..).zip(&config.copies);
    copies
        .map(|(number, port)| format!("    server copy-{number} 127.0.0.1:{port}{check}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There the copies have one name, whose addresses come and go with them.
    fn of_compose(check: &str) -> String {
        let from = "resolvers docker init-addr none";
        format!("    server-template copy- 2 order:3001 {from}{check}\n")
    }

    const RESOLVERS: &str = "
resolvers docker
    nameserver docker 127.0.0.11:53
    resolve_retries 3
    timeout resolve 500ms
    timeout retry 500ms
    hold valid 1s
";

    #[test]
    fn the_proxy_of_compose_has_the_same_settings() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/docker/haproxy.cfg");
        let expected = settings("0.0.0.0:3001", "/readyz", &of_compose(CHECK), &of_compose(""));
        let expected = expected + RESOLVERS;
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(file, &expected).unwrap();
        }
        assert_eq!(fs::read_to_string(file).unwrap(), expected, "UPDATE_DOCS=1 writes it");
    }
}
