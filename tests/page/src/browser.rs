//! Runs a Chromium for a test and controls it by the DevTools protocol.

use crate::Tab;
use e2e::until;
use nix::sys::signal::Signal;
use reqwest::Client;
use serde_json::Value;
use servers::{Process, Watchdog, install};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

pub struct Browser {
    child: Child,
    port: u16,
    http: Client,
    _watchdog: Watchdog,
}

impl Browser {
    /// `profile` is a folder for it alone.
    pub async fn start(profile: PathBuf) -> Self {
        let program = install::browser().await.expect("chromium is installed");
        let watchdog = Watchdog::start().expect("a watchdog starts");
        let log = profile.with_extension("log");
        let log = std::fs::File::create(log).expect("a log can be written");
        let child = Command::new(program)
            .args(["--headless=new", "--remote-debugging-port=0", "--no-first-run", "--no-sandbox"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--no-proxy-server", "--disable-extensions"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("chromium starts");
        if let Some(process) = Process::of(child.id()) {
            watchdog.ends(process, Signal::SIGKILL).expect("the watchdog listens");
        }
        // It picks a free port and writes it to a file.
        let note = profile.join("DevToolsActivePort");
        let port = until(|| async {
            let text = std::fs::read_to_string(&note).map_err(|why| why.to_string())?;
            let port = text.lines().next().and_then(|line| line.parse().ok());
            port.ok_or_else(|| format!("no port in {text:?}"))
        })
        .await;
        Self { child, port, http: https::plain().build().expect("a client"), _watchdog: watchdog }
    }

    /// A new tab, with nothing in it.
    pub async fn tab(&self) -> Tab {
        let url = format!("http://127.0.0.1:{}/json/new?about:blank", self.port);
        let answer = self.http.put(url).send().await.expect("chromium answers");
        let target: Value = answer.json().await.expect("it tells of the tab");
        let socket = target["webSocketDebuggerUrl"].as_str().expect("its address");
        Tab::attach(socket).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
