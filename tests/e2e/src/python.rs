//! Installs Python tools from PyPI below `target/`, once; they test the service against its
//! contract.

use servers::install;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{process::Command, time::timeout};

const REQUIREMENTS: &str = include_str!("../contract/requirements.txt");
/// On a busy machine.
const RUNS_WITHIN: Duration = Duration::from_mins(10);

pub struct Python {
    program: PathBuf,
}

impl Python {
    pub async fn with_tools() -> Self {
        let system = install::python().await.expect("python3 and python3-venv are installed");
        let target = crate::process::binary("order-service");
        let target = target.ancestors().nth(2).expect("it lies in the target folder");
        // Each test is a process of its own, and they share the folder.
        let folder = fs::File::open(target).expect("the target folder is there");
        let _turn = install::locked(folder).await.expect("it can be locked");
        let home = target.join("contract");
        let python = Self { program: home.join("bin/python") };
        // Written last, so that an interrupted installation is started again.
        let installed = home.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
            return python;
        }
        // The folder may not exist.
        let _ = fs::remove_dir_all(&home);
        let home_text = home.display().to_string();
        run(&system, &["-m", "venv", &home_text], target).await.expect("an environment is made");
        let wanted = home.join("requirements.txt");
        fs::write(&wanted, REQUIREMENTS).expect("it can be written");
        let wanted = wanted.display().to_string();
        let install = ["-m", "pip", "install", "--quiet", "--requirement", &wanted];
        if let Err(why) = run(&python.program, &install, target).await {
            panic!(
                "schemathesis comes from PyPI, once, and could not be installed; \
                 pip needs the network, or a mirror in PIP_INDEX_URL:\n{why}"
            );
        }
        fs::write(installed, REQUIREMENTS).expect("it can be written");
        python
    }

    /// The tool's output; an error if it fails.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
        run(&self.program, arguments, &folder).await
    }
}

async fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command.env("NO_PROXY", "127.0.0.1").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = timeout(RUNS_WITHIN, command.output()).await;
    let Output { status, stdout, stderr } = output
        .map_err(|_| format!("{arguments:?} did not end within {RUNS_WITHIN:?}"))?
        .map_err(|why| why.to_string())?;
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if status.success() { Ok(text) } else { Err(text) }
}
