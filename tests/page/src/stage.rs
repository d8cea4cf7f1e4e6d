//! A fleet with its page open.

use crate::{Browser, Tab};
use e2e::{Fleet, SERVICES};
use std::path::PathBuf;

pub struct Stage {
    pub fleet: Fleet,
    pub tab: Tab,
    browser: Browser,
}

impl Stage {
    /// A fleet on which every scenario of the demo works.
    pub async fn open() -> Self {
        let mut fleet = Fleet::prepare(&[
            // So long that `card_slow` is charged within it.
            ("PAYMENT_GATEWAY_TIMEOUT", "7s"),
            ("PAYMENT_REAP_AFTER", "8s"),
        ])
        .await;
        for service in SERVICES {
            Self::spawn(&mut fleet, service);
        }
        fleet.ready().await;
        Self::before(fleet).await
    }

    pub async fn before(fleet: Fleet) -> Self {
        let browser = Browser::start(fleet.file("chromium")).await;
        let tab = browser.tab().await;
        tab.looks(1280, 1000, "light").await;
        tab.open(&fleet.order_url).await;
        tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
        Self { fleet, tab, browser }
    }

    /// Starts a service that does not run, as `make up` would.
    pub fn spawn(fleet: &mut Fleet, service: &str) {
        let operator = fleet.broker.amqp_url.clone();
        let settings = [("DEMO", "1"), ("OPERATOR_AMQP_URL", operator.as_str())];
        let settings = if service == "order" { settings.as_slice() } else { &[] };
        fleet.spawn_as(service, service, settings);
    }

    /// The folder for screenshots, for a person to look at.
    pub fn album() -> PathBuf {
        let target = std::env::current_exe().expect("a test has a path");
        let target = target.ancestors().nth(3).expect("it lies in the target folder");
        let album = target.join("page");
        std::fs::create_dir_all(&album).expect("a folder can be made");
        album
    }

    pub async fn close(self) {
        self.tab.is_content("at the end").await;
        drop(self.browser);
        self.fleet.close().await;
    }
}
