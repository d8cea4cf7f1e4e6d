//! Runs the `saga` command on a fleet, as a script does.

use crate::{Fleet, process::binary};
use audit::Endpoints;
use messaging::CrashPoint;
use serde_json::Value;
use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Output, Stdio},
};
use tokio::process::Command;

/// To be started, and ended with its owner.
pub fn saga(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("saga"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The command's output.
#[derive(Debug)]
pub struct Said {
    arguments: Vec<String>,
    pub code: Option<i32>,
    /// The signal that ended it, if it did not exit by itself.
    pub signal: Option<i32>,
    pub out: String,
    pub error: String,
}

impl Said {
    pub fn new(arguments: &[&str], output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        let (out, error) = (text(output.stdout), text(output.stderr));
        let arguments = arguments.iter().copied().map(Into::into).collect();
        let status = output.status;
        Self { arguments, code: status.code(), signal: status.signal(), out, error }
    }

    /// As its schema says.
    pub fn json(&self) -> Value {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        tidy::documented(&arguments, &self.out)
    }
}

impl Fleet {
    /// Runs it without a terminal.
    pub async fn saga(&self, arguments: &[&str]) -> Said {
        self.saga_with(arguments, &[]).await
    }

    /// It crashes at this crash point, if it reaches it.
    pub async fn saga_crashing(&self, arguments: &[&str], at: CrashPoint) -> Said {
        self.saga_with(arguments, &[("CRASH_AT", &format!("{at:?}"))]).await
    }

    /// Runs it where these are the endpoints.
    pub async fn saga_at(&self, endpoints: &Endpoints, arguments: &[&str]) -> Said {
        self.said(self.command_at(endpoints, arguments), arguments).await
    }

    /// To be started by the test.
    pub fn saga_command(&self, arguments: &[&str]) -> Command {
        self.command_at(&self.endpoints(), arguments)
    }

    fn command_at(&self, endpoints: &Endpoints, arguments: &[&str]) -> Command {
        let mut command = saga(arguments);
        command.arg("--places").arg(self.places(endpoints));
        command
    }

    /// The file with the endpoints, which commands read when they start.
    pub fn places(&self, endpoints: &Endpoints) -> PathBuf {
        let places = self.file("places.json");
        let text = serde_json::to_string(endpoints).expect("it is plain data");
        std::fs::write(&places, text).expect("the folder is there");
        places
    }

    async fn saga_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Said {
        let mut command = self.saga_command(arguments);
        command.envs(settings.iter().copied());
        self.said(command, arguments).await
    }

    async fn said(&self, mut command: Command, arguments: &[&str]) -> Said {
        let output = command.output().await;
        let said = Said::new(arguments, output.expect("saga is built, by `cargo build`"));
        // Whatever the test looks at.
        if arguments.contains(&"--json") && !said.out.is_empty() {
            said.json();
        }
        said
    }
}
