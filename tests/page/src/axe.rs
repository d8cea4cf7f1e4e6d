//! Judges a page by axe-core, the rules for what people with a screen reader, a keyboard or little
//! sight need. Fetched from the npm registry, once, into the target folder.

use crate::{Stage, Tab};
use serde_json::Value;
use std::path::PathBuf;
use tokio::process::Command;

const VERSION: &str = "4.10.3";

/// The script, downloaded where it is missing.
async fn script() -> String {
    let archive = archive().await;
    let mut tar = Command::new("tar");
    tar.arg("-xzOf").arg(&archive).arg("package/axe.min.js");
    let script = tar.output().await.expect("tar runs");
    assert!(script.status.success(), "{} is no archive: delete it", archive.display());
    String::from_utf8(script.stdout).expect("a script is text")
}

async fn archive() -> PathBuf {
    let archive = Stage::album().join(format!("axe-core-{VERSION}.tgz"));
    if !archive.exists() {
        let url = format!("https://registry.npmjs.org/axe-core/-/axe-core-{VERSION}.tgz");
        let http = https::client(&url, None).and_then(|client| Ok(client.build()?));
        let answer = http.expect("a client").get(&url).send().await.expect("npm answers");
        let bytes = answer.error_for_status().expect("npm has it").bytes().await;
        // Whole at every moment: another test may look for it.
        let part = archive.with_extension(std::process::id().to_string());
        std::fs::write(&part, bytes.expect("it comes whole")).expect("it can be written");
        std::fs::rename(&part, &archive).expect("it can be renamed");
    }
    archive
}

/// What axe finds in the page as it is now, for a person to read.
pub async fn findings(tab: &Tab) -> Vec<String> {
    if tab.eval("typeof axe").await != "object" {
        tab.eval(&format!("{};0", script().await)).await;
    }
    let run = "axe.run(document, { resultTypes: ['violations'] }).then((it) => it.violations)";
    let found = tab.eval(run).await;
    let found = found.as_array().expect("a list").iter();
    found.map(|one| format!("{}: {}: {}", one["id"], one["help"], nodes(one))).collect()
}

fn nodes(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| node["html"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n  ")
}
