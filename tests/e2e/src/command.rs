//! The `saga` command on a fleet, as a script runs it.

use crate::{Fleet, process::binary};
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

/// What it has said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

impl Fleet {
    /// Nobody sits at it.
    pub async fn saga(&self, arguments: &[&str]) -> Said {
        let places = self.file("places.json");
        let text = serde_json::to_string(&self.places()).expect("it is plain data");
        std::fs::write(&places, text).expect("the folder is there");
        let saga = binary("saga");
        let mut command = Command::new(saga);
        command.args(arguments).arg("--places").arg(places).stdin(Stdio::null());
        let output = command.output().await.expect("saga is built, by `cargo build`");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        let (out, error) = (text(output.stdout), text(output.stderr));
        Said { code: output.status.code(), out, error }
    }
}
