//! `saga play` with its page open: the whole system in one process, without any server.

use crate::{Browser, Tab};
use e2e::saga;
use servers::ports;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

pub struct Play {
    pub tab: Tab,
    pub url: String,
    browser: Browser,
    process: Child,
    _folder: TempDir,
}

impl Play {
    /// With so many orders a second.
    pub async fn open(traffic: u8) -> Self {
        let port = ports::free().expect("a free port");
        let mut command = saga(&["play"]);
        command.env("ORDER_HTTP_PORT", port.to_string()).env("DEMO_TRAFFIC", traffic.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("saga is built");
        let out = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(out).lines();
        while let Some(line) = lines.next_line().await.expect("it says something") {
            if line.contains("ready after") {
                break;
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let browser = Browser::start(folder.path().join("chromium")).await;
        let (tab, url) = (browser.tab().await, format!("http://127.0.0.1:{port}"));
        tab.looks(1280, 1000, "light").await;
        tab.open(&url).await;
        tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
        Self { tab, url, browser, process, _folder: folder }
    }

    pub async fn close(mut self) {
        self.tab.is_content("at the end").await;
        drop(self.browser);
        self.process.kill().await.expect("it runs until then");
    }
}
