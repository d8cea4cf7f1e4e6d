//! Tests what the Makefile builds: without the demonstration where its page's step was taken (`make
//! lint` compiles that), and each package once for all targets.

use crate::text;
use std::collections::BTreeMap;
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

fn dry_run(target: &str, here: &Path) -> String {
    output(&mut make(target, here))
}

fn make(target: &str, here: &Path) -> Command {
    let makefile = root().canonicalize().unwrap().join("Makefile");
    let mut make = Command::new("make");
    // Under `make test`, make is called by make, and would say which directory it enters.
    make.args(["--no-print-directory", "--dry-run", target, "--file"]).arg(makefile);
    make.current_dir(here).env_remove("DEMO").env_remove("MAKEFLAGS");
    make
}

/// The packages that a target builds, each with its features.
fn built_by(target: &str) -> BTreeMap<String, String> {
    let commands = dry_run(target, Path::new(env!("CARGO_TARGET_TMPDIR")));
    let selected = commands.split_whitespace().skip_while(|word| *word != "-p");
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none"]);
    let tree = output(tree.args(["--format", "{p}|{f}"]).args(selected).current_dir(root()));
    let packages = tree.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    packages.map(|(package, features)| (package.to_owned(), features.to_owned())).collect()
}

/// With other features, a package and all that depends on it would be compiled a second time.
#[test]
fn each_package_is_built_alike_for_all_targets() {
    let all = built_by("build");
    assert!(all.keys().any(|package| package.starts_with("sqlx-core ")), "{all:#?}");
    for target in ["saga", "lab"] {
        let built = built_by(target);
        let others = built.iter().filter(|(package, features)| {
            all.get(*package).is_some_and(|before| before != *features)
        });
        let others: Vec<_> = others.collect();
        assert!(others.is_empty(), "make {target} builds with other features: {others:#?}");
    }
}

#[test]
fn the_documented_step_leaves_the_demonstration() {
    let guide = blocks(&read("docs/leave-the-demonstration.md"));
    let step = guide.iter().find(|block| block.language == "sh").unwrap();
    let (step, _) = step.code.split_once('\n').unwrap();
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demonstration");
    fs::remove_dir_all(&here).ok();
    fs::create_dir_all(&here).unwrap();
    let builds = || dry_run("build", &here);
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

    let compose = read("docker-compose.yml");
    let services = ["order", "payment", "inventory", "shipping"];
    for service in services {
        let arguments = format!("args: {{ SERVICE: {service}, DEMO: \"${{DEMO:-1}}\" }}");
        assert!(compose.contains(&arguments), "{service}'s image has no {arguments}");
    }
}

#[test]
fn the_demonstration_is_built_or_left_however_the_setting_is_spelt() {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spellings");
    fs::create_dir_all(&here).unwrap();
    let with = |dotenv: &str| {
        fs::write(here.join(".env"), dotenv).unwrap();
        make("build", &here)
    };
    let off = ["DEMO=0", "DEMO=false", "DEMO=\"0\"", "DEMO='no' # ours", "export DEMO=off"];
    let spaced = ["DEMO = 0", "  DEMO=0", "\tDEMO=0\t", "DEMO=1\nDEMO=0\r\nDEMO_TRAFFIC=1"];
    for dotenv in off.into_iter().chain(spaced) {
        let built = output(&mut with(dotenv));
        assert!(built.contains("--no-default-features"), "{dotenv}: {built}");
    }
    for dotenv in ["", "#DEMO=0", "DEMO=", "DEMO=on", "DEMO=0\nDEMO=yes", "MY_DEMO=0"] {
        let built = output(&mut with(dotenv));
        assert!(!built.contains("--no-default-features"), "{dotenv}: {built}");
    }
    for value in ["false", "0 "] {
        let built = output(with("DEMO=1").env("DEMO", value));
        assert!(built.contains("--no-default-features"), "{value}: {built}");
    }
    let unknown = text(&with("DEMO=perhaps").output().unwrap()).1;
    assert!(unknown.contains("DEMO=perhaps is not known: it is 1 or 0"), "{unknown}");
    output(make("help", &here).env("DEMO", "perhaps"));
}
