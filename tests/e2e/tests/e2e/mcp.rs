//! An agent uses `saga mcp`, by the protocol's own client; what the commands print for programs is
//! as documented.

use crate::{
    dead_letters::{TABLE, die},
    partly_down::away,
};
use e2e::{Fleet, PLENTY, mend, order, saga};
use rmcp::{
    RoleClient, ServiceExt, model::CallToolRequestParams, service::RunningService,
    transport::TokioChildProcess,
};
use serde_json::{Value, json};
use std::fs;
use tidy::documented;
use tokio::process::Command;

struct Agent(RunningService<RoleClient, ()>);

impl Agent {
    async fn start(fleet: &Fleet, more: &[&str]) -> Self {
        let arguments = [&["mcp", "--url", &fleet.order_url], more].concat();
        Self::of(fleet.saga_command(&arguments)).await
    }

    async fn of(command: Command) -> Self {
        Self(().serve(TokioChildProcess::new(command).unwrap()).await.unwrap())
    }

    async fn tools(&self) -> Vec<String> {
        let tools = self.0.list_all_tools().await.unwrap();
        let mut names: Vec<_> = tools.into_iter().map(|tool| tool.name.to_string()).collect();
        names.sort();
        names
    }

    /// The text; an error is one of the protocol, or the tool's own.
    async fn call(&self, tool: &'static str, arguments: Value) -> Result<String, String> {
        let arguments = arguments.as_object().unwrap().clone();
        let request = CallToolRequestParams::new(tool).with_arguments(arguments);
        let answer = self.0.call_tool(request).await.map_err(|why| why.to_string())?;
        let text = answer.content[0].as_text().unwrap().text.clone();
        if answer.is_error == Some(true) { Err(text) } else { Ok(text) }
    }

    async fn json(&self, tool: &'static str, arguments: Value) -> Value {
        serde_json::from_str(&self.call(tool, arguments).await.unwrap()).unwrap()
    }
}

/// Makes a key by the command, and returns the file that it is in.
async fn key_file(fleet: &Fleet, client: &str, role: &str) -> String {
    let arguments = ["keys", "create", client, "--role", role, "--as", "root", "--json"];
    let made = fleet.saga(&arguments).await.json();
    let file = fleet.file(client);
    fs::write(&file, made["key"].as_str().unwrap()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn an_agent_reads_all_and_acts_only_with_an_operators_key_and_a_reason() {
    let fleet = Fleet::start().await;
    let stock = fleet.pool("inventory").await;
    let dead = die(&fleet, &stock, 2).await[0].to_string();
    mend(&stock, TABLE).await;
    let reader = Agent::start(&fleet, &[]).await;
    let reading = ["dead_letters", "order", "orders", "tail", "verify", "why"];
    assert_eq!(reader.tools().await, reading);
    let act = json!({ "order": dead, "reason": "the table is mended" });
    assert!(reader.call("replay", act.clone()).await.is_err());

    let one = || json!({ "order": dead });
    for (command, tool, arguments) in [
        (&["why"][..], "why", one()),
        (&["dlq", "list"], "dead_letters", json!({})),
        (&["dlq", "show"], "dead_letters", one()),
        (&["verify"], "verify", json!({ "seconds": 1 })),
    ] {
        documented(command, &reader.call(tool, arguments).await.unwrap());
    }
    // It examines this machine, where other endpoints need not be.
    let here = Agent::of(saga(&["mcp"])).await;
    documented(&["doctor"], &here.call("doctor", json!({})).await.unwrap());
    let (endpoints, _link) = away(&fleet, "rabbitmq").await;
    for endpoints in &endpoints {
        fleet.places(endpoints);
        let told = documented(&["why"], &reader.call("why", one()).await.unwrap());
        assert_eq!(told["unread"][0]["part"], "rabbitmq", "{told}");
        let unchecked = reader.call("verify", json!({ "seconds": 1 })).await.unwrap_err();
        assert!(unchecked.contains("cannot check: RabbitMQ"), "{unchecked}");
    }
    fleet.places(&fleet.endpoints());
    assert_eq!(reader.json("order", one()).await["order_id"], dead);
    assert_eq!(reader.json("orders", json!({})).await["orders"].as_array().unwrap().len(), 2);
    let placing = async {
        loop {
            fleet.ends(fleet.place(&order("pix", PLENTY, 1)).await).await;
        }
    };
    let events = tokio::select! {
        events = reader.call("tail", json!({ "count": 3, "seconds": 60 })) => events.unwrap(),
        () = placing => unreachable!("it places orders for as long as it may"),
    };
    assert_eq!(events.lines().count(), 3, "{events}");
    for line in events.lines() {
        documented(&["tail"], line);
    }
    for (wrong, told) in [("--places=/etc/passwd", "is not an order's id"), ("abcd", "no order")] {
        let said = reader.call("why", json!({ "order": wrong })).await.unwrap_err();
        assert!(said.contains(told), "{said}");
    }

    let viewer = key_file(&fleet, "board", "viewer").await;
    for arguments in [&["mcp", "--act"][..], &["mcp", "--act", "--key-file", &viewer]] {
        let said = fleet.saga(arguments).await;
        assert!(said.code == Some(1) && said.error.contains("operator's key"), "{said:?}");
    }
    let operator = key_file(&fleet, "agent", "operator").await;
    let agent = Agent::start(&fleet, &["--act", "--key-file", &operator]).await;
    assert_eq!(agent.tools().await.len(), reading.len() + 2);
    let unsaid = agent.call("replay", json!({ "order": dead, "reason": " " })).await.unwrap_err();
    assert!(unsaid.contains("say why"), "{unsaid}");
    let everything = json!({ "order": "--all", "reason": "x" });
    assert!(agent.call("replay", everything).await.unwrap_err().contains("a whole id"));
    let done = documented(&["dlq", "replay"], &agent.call("replay", act).await.unwrap());
    assert_eq!(done[0]["outcome"], "replayed");
    let slow = fleet.place(&order("card_slow", PLENTY, 1)).await;
    let cancel = json!({ "order": slow, "reason": "fraud" });
    assert_eq!(agent.json("cancel", cancel.clone()).await["cancel"], "accepted");
    assert_eq!(fleet.ends(slow).await["status"], "CANCELLED");
    let late = agent.call("cancel", cancel).await.unwrap_err();
    assert!(late.contains("already cancelled"), "{late}");

    fleet.saga(&["keys", "list", "--json"]).await.json();
    let acts = fleet.saga(&["audit", "--json"]).await.json();
    let replay = acts.as_array().unwrap().iter().find(|act| act["what"] == "dlq.replay").unwrap();
    let told = ["who", "order_id", "reason", "outcome"].map(|name| replay[name].as_str().unwrap());
    assert_eq!(told, ["agent", &dead, "the table is mended", "replayed"]);

    // A key that is revoked acts no more.
    let id = replay["key_id"].as_str().unwrap();
    fleet.saga(&["keys", "revoke", id, "--json"]).await.json();
    let said = agent.call("replay", json!({ "order": dead, "reason": "x" })).await.unwrap_err();
    assert!(said.contains("not valid"), "{said}");
    fleet.close().await;
}
