//! Leaves the demonstration as its page says: the services are then built without it. `make lint`
//! compiles that.

use crate::text;
use std::fs;
use std::path::Path;
use std::process::Command;
use tidy::{blocks, read, root};

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (said, complained) = text(&output);
    assert!(output.status.success(), "{command:?}: {said}{complained}");
    said
}

#[test]
fn the_documented_step_leaves_the_demonstration() {
    let guide = blocks(&read("docs/leave-the-demonstration.md"));
    let step = guide.iter().find(|block| block.language == "sh").unwrap();
    let (step, _) = step.code.split_once('\n').unwrap();
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demonstration");
    fs::remove_dir_all(&here).ok();
    fs::create_dir_all(&here).unwrap();
    let makefile = root().canonicalize().unwrap().join("Makefile");
    let builds = || {
        let mut make = Command::new("make");
        make.arg("--file").arg(&makefile).args(["--dry-run", "build"]);
        output(make.current_dir(&here).env_remove("DEMO").env_remove("MAKEFLAGS"))
    };
    assert!(!builds().contains("--no-default-features"), "it has it before");
    output(Command::new("sh").args(["-euc", step]).current_dir(&here));
    let builds = builds();
    let (services, tools) = builds.split_once(" && ").expect("they are built apart");
    assert!(tools.contains("-p saga-cli") && !services.contains("-p saga-cli"), "{builds}");

    let (_, services) = services.split_once("--no-default-features ").expect("it is left");
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--no-default-features", "--edges", "features,no-dev", "--prefix", "none"]);
    let built = output(tree.args(services.split_whitespace()).current_dir(root()));
    assert!(built.contains("order-page") && built.contains("shipping"), "{built}");
    let demo: Vec<_> = built.lines().filter(|line| line.contains("demo")).collect();
    assert!(demo.is_empty(), "{demo:#?}");
}
