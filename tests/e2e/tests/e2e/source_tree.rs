//! People change the source tree as the documents say, here a copy of it: what `saga new` writes is
//! built, passes its own tests and reacts to an order.

use database::testing::throwaway_url;
use e2e::{Fleet, PLENTY, order, saga, target, until};
use nix::sys::signal::Signal;
use servers::Process;
use sqlx::PgPool;
use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};
use tidy::root;
use tokio::process::Command;

const STAMPS: [&str; 6] = [
    "new",
    "stamps",
    "--hears",
    "payment.approved,shipping.scheduled",
    "--says",
    "stamps.collected",
];

/// The tests below the reactions as a target of its own. Cargo builds it with the features that the
/// workspace has, and so anew nothing but our own crates; it does not for `-p stamps`.
const REACTIONS: &str = "
#[path = \"../src/on/payment_approved.rs\"]
mod payment_approved;
#[path = \"../src/on/shipping_scheduled.rs\"]
mod shipping_scheduled;
#[path = \"../src/state.rs\"]
mod state;
use state::State;
";

/// A copy of the source tree, and a target folder of its own that has all libraries already.
struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    async fn copy() -> Self {
        let folder = target().join("../new");
        let tree = Self { root: folder.join("tree"), target: folder };
        // Files keep their times, by which Cargo tells what has changed.
        let script = "rm -rf \"$TO/tree\" && mkdir -p \"$TO/tree\" \"$TO/debug\" \
                      && cp -aln deps \"$TO/debug\" && cp -an .fingerprint build \"$TO/debug\" \
                      && find \"$TO/debug/deps\" -type f ! -name '*.rlib' ! -name '*.rmeta' \
                         ! -name '*.so' -delete \
                      && cd \"$ROOT\" && git ls-files -z --cached --others --exclude-standard \
                      | xargs -0 cp -p --parents -t \"$TO/tree\"";
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(target());
        command.env("TO", &tree.target).env("ROOT", fs::canonicalize(root()).unwrap());
        succeeds(&mut command).await;
        tree
    }

    async fn saga(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = saga(arguments);
        command.current_dir(&self.root).envs(variables.iter().copied()).output().await.unwrap()
    }

    /// Its exit code after a SIGTERM while Cargo runs.
    async fn interrupted_saga(&self, arguments: &[&str]) -> Option<i32> {
        let cargo = self.target.join("slow-cargo");
        fs::write(&cargo, "#!/bin/sh\n: >\"$0.runs\"\nexec sleep 60\n").unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let runs = cargo.with_extension("runs");
        fs::remove_file(&runs).ok();
        let mut command = saga(arguments);
        let mut saga = command.current_dir(&self.root).env("CARGO", &cargo).spawn().unwrap();
        until(async || runs.exists().then_some(()).ok_or("cargo does not run".to_owned())).await;
        Process::of(saga.id().unwrap()).unwrap().signal(Signal::SIGTERM);
        saga.wait().await.unwrap().code()
    }

    /// All files, with their content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.root.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// What it writes to its standard output and error.
    async fn cargo(&self, arguments: &[&str]) -> (String, String) {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        let (told, said) = succeeds(&mut command).await;
        assert!(!said.contains("warning: "), "{said}");
        (told, said)
    }

    /// What the file defines, for another virtual host.
    fn definitions(&self, file: &str, vhost: &str) -> serde_json::Value {
        let text = fs::read_to_string(self.root.join("deploy/rabbitmq").join(file)).unwrap();
        serde_json::from_str(&text.replace("\"vhost\": \"/\"", &format!("\"vhost\": \"{vhost}\"")))
            .unwrap()
    }
}

/// Returns what it writes to its standard output and error.
async fn succeeds(command: &mut Command) -> (String, String) {
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {told}{said}");
    (told.into_owned(), said.into_owned())
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

#[tokio::test]
async fn a_new_service_is_built_passes_its_tests_and_reacts_to_an_order() {
    let (fleet, tree) = tokio::join!(Fleet::start(), Tree::copy());
    let before = tree.files();
    for name in ["loyalty", "messaging"] {
        let taken = tree.saga(&["new", name, "--hears", "payment.approved"], &[]).await;
        assert!(complaint(&taken).contains(&format!("there is a package {name} already")));
    }
    let failed = tree.saga(&STAMPS, &[("CARGO", "/bin/false")]).await;
    assert!(complaint(&failed).contains("nothing was written"));
    assert!(tree.files() == before, "nothing is left of what failed");
    assert_eq!(tree.interrupted_saga(&STAMPS).await, Some(143));
    assert!(tree.files() == before, "nothing is left of what a signal has ended");
    let elsewhere = saga(&STAMPS).current_dir("/").output().await.unwrap();
    assert!(complaint(&elsewhere).contains("run it in the source tree"));

    let made = tree.saga(&STAMPS, &[]).await;
    assert!(made.status.success(), "{made:?}");
    let again = tree.saga(&STAMPS, &[]).await;
    assert!(complaint(&again).contains("there is a package stamps already"));
    for path in ["Makefile", "deploy/dist.sh", "deploy/docker/Dockerfile"] {
        assert!(read(&tree.root, path).contains("-p stamps"), "{path} does not build it");
    }
    let units = read(&tree.root, "deploy/systemd/quadrille.target");
    assert!(units.contains(" quadrille@stamps.service"), "{units}");
    fs::write(tree.root.join("services/stamps/tests/reactions.rs"), REACTIONS).unwrap();
    tree.cargo(
        &[
            &["test", "--workspace", "--locked", "--offline", "--bin", "stamps-service"][..],
            &["--test", "stamps", "--test", "reactions"],
        ]
        .concat(),
    )
    .await;

    reacts(fleet, &tree).await;
}

async fn reacts(mut fleet: Fleet, tree: &Tree) {
    for file in ["topology.json", "users.json"] {
        let definitions = tree.definitions(file, &fleet.broker.vhost);
        fleet.broker.import(definitions).await;
    }
    let url = throwaway_url().await;
    let settings = [("DATABASE_URL", url.as_str()), ("RETRY_DELAYS", "1s,5s,30s")];
    fleet.spawn_program("new/debug/stamps-service", "stamps", "stamps", &settings);
    fleet.ready().await;
    let placed = fleet.place(&order("pix", PLENTY, 1)).await;
    assert_eq!(fleet.ends(placed).await["status"], "CONFIRMED");

    let pool = PgPool::connect(&url).await.unwrap();
    let count = async |wanted: i64, query: &'static str| {
        until(|| async {
            let found: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
            if found == wanted { Ok(()) } else { Err(format!("{found}: {query}")) }
        })
        .await;
    };
    count(1, "SELECT COUNT(*) FROM stamps_orders WHERE payment_approved AND shipping_scheduled")
        .await;
    let waits = "SELECT COUNT(*) FROM outbox WHERE event_type = 'stamps.collected' AND last_error IS NOT NULL";
    count(1, waits).await;
    drop(fleet.take("stamps"));
    fleet.close().await;
}
