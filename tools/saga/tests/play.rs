//! Tests `saga play` as a person uses it: the real command as a process of its own, over HTTP.

use nix::sys::signal::Signal;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use servers::{Process, Watchdog, ports};
use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(60);

struct Play {
    child: Child,
    said: BufReader<ChildStdout>,
    url: String,
    http: Client,
    _watchdog: Watchdog,
}

impl Play {
    fn start() -> Self {
        let port = ports::free().unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("play");
        std::fs::create_dir_all(&folder).unwrap();
        // So that an order without a provider ends soon.
        let settings = "PAYMENT_ATTEMPTS_MAX=3\nPAYMENT_RETRY_DELAY=3s\nDEMO_TRAFFIC=0\n";
        std::fs::write(folder.join(".env"), settings).unwrap();
        let mut child = Self::command(&["play"], port)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let watchdog = Watchdog::start().unwrap();
        watchdog.ends(Process::of(child.id()).unwrap(), Signal::SIGKILL).unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let url = format!("http://127.0.0.1:{port}");
        Self { child, said, url, http: https::plain().build().unwrap(), _watchdog: watchdog }
    }

    fn command(arguments: &[&str], port: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_saga"));
        command.args(arguments).env("ORDER_HTTP_PORT", port.to_string()).env("NO_COLOR", "1");
        command.env_remove("QUADRILLE_KEY").current_dir(env!("CARGO_TARGET_TMPDIR"));
        command
    }

    /// The next line that contains this.
    fn says(&mut self, part: &str) -> String {
        let mut lines = self.said.by_ref().lines().map(Result::unwrap);
        lines.find(|line| line.contains(part)).expect("it says that")
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn place(&self, key: &str, quantity: u32) -> (StatusCode, Value) {
        let product = "00000000-0000-0000-0000-000000000001";
        let order = json!({
            "customer_id": "123e4567-e89b-12d3-a456-426614174000",
            "payment_method": "credit_card",
            "items": [{ "product_id": product, "quantity": quantity, "unit_price": 49.90 }],
        });
        let request = self.http.post(format!("{}/orders", self.url)).json(&order);
        let answer = request.header("Idempotency-Key", key).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn status(&self, order: &Value) -> Value {
        self.get(&format!("/orders/{}", order.as_str().unwrap())).await["status"].clone()
    }

    async fn ends(&self, order: &Value, status: &str) {
        let began = Instant::now();
        while self.status(order).await != status {
            assert!(began.elapsed() < SOON, "{order} is {}", self.status(order).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses a button of the page.
    async fn press(&self, path: &str) -> StatusCode {
        let page = self.http.get(format!("{}/", self.url)).send().await.unwrap();
        let page = page.text().await.unwrap();
        let token = page.split("data-token=\"").nth(1).and_then(|rest| rest.split('"').next());
        let request = self.http.post(format!("{}/page/{path}", self.url));
        request.header("x-csrf-token", token.unwrap()).send().await.unwrap().status()
    }

    /// By Ctrl-C.
    fn end(mut self) -> (Option<i32>, String) {
        Process::of(self.child.id()).unwrap().signal(Signal::SIGINT);
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[tokio::test]
async fn the_whole_system_plays_in_one_process_without_any_server() {
    let mut play = Play::start();
    let ready = play.says("ready after");
    let seconds = ready.split_whitespace().rev().nth(1).unwrap();
    assert!(seconds.parse::<f32>().unwrap() < 60.0, "{ready}");
    play.says("forgets everything");

    // As in the README.
    let (created, order) = play.place("one", 2).await;
    assert_eq!(created, StatusCode::CREATED);
    assert_eq!(order["total_amount"].to_string(), "99.80");
    play.ends(&order["order_id"], "CONFIRMED").await;
    assert_eq!(play.place("one", 2).await.1["order_id"], order["order_id"]);
    let (refused, problem) = play.place("one", 3).await;
    assert_eq!((refused.as_u16(), &problem["status"]), (422, &json!(422)));

    let port = play.url.rsplit(':').next().unwrap().parse().unwrap();
    let demo = ["demo", "--json"];
    let output = tokio::process::Command::from(Play::command(&demo, port)).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    tidy::documented(&demo, &said);

    assert_eq!(play.press("services/payment/kill").await, 200);
    let (_, waits) = play.place("two", 2).await;
    // It has waited until the system is idle, as long as it waits.
    assert_eq!(play.get("/verify").await["is_idle"], false);
    assert_eq!(play.status(&waits["order_id"]).await, "PENDING");
    assert_eq!(play.press("services/payment/start").await, 200);
    play.ends(&waits["order_id"], "CONFIRMED").await;

    let metrics = play.http.get(format!("{}/metrics", play.url)).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("orders_placed_total"));

    // Where no system of servers can be.
    let nowhere = ["ORDER_DB_PORT", "RABBITMQ_PORT", "RABBITMQ_MANAGEMENT_PORT"]
        .map(|name| (name, ports::free().unwrap().to_string()));
    let ask = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::from(Play::command(arguments, port));
        command.envs(nowhere.clone()).output().await.unwrap()
    };
    let list = ask(&["dlq", "list"]).await;
    let complaint = String::from_utf8_lossy(&list.stderr);
    assert!(!list.status.success() && complaint.contains("runs `saga play`"), "{complaint}");
    // It keeps no state of checks.
    let since = ask(&["verify", "--since-last"]).await;
    assert_eq!(since.status.code(), Some(2), "{since:?}");
    let output = ask(&["verify", "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    let verdict = tidy::documented(&["play"], &String::from_utf8(output.stdout).unwrap());
    assert_eq!((&verdict["is_idle"], &verdict["violations"]), (&json!(true), &json!([])));
    assert_eq!(play.press("services/order/kill").await, 404, "it serves the page");
    let (code, rest) = play.end();
    assert_eq!(code, Some(0));
    assert!(rest.contains("13 orders; every invariant holds"), "{rest}");
}
