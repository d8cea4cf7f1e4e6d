//! Installs from the tarball that `make dist` makes, here of the binaries that the tests use: it
//! runs without a source tree, and systemd finds nothing wrong with its units.

use crate::{Saga, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidy::root;

/// Where it is unpacked.
fn installed(scratch: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_saga")).parent().unwrap();
    let mut tarball = Command::new(root().join("deploy/tarball.sh"));
    tarball.arg(built).arg(scratch).current_dir(root());
    let (made, complained) = text(&tarball.output().unwrap());
    assert!(made.ends_with(".tar.gz\n"), "{made}{complained}");
    let script = "tar -xzf \"$1\" && cd quadrille-* && sha256sum --quiet -c SHA256SUMS && pwd";
    let mut unpack = Command::new("sh");
    unpack.args(["-euc", script, "sh"]).arg(made.trim()).current_dir(scratch);
    let (said, complained) = text(&unpack.output().unwrap());
    assert!(complained.is_empty(), "{complained}");
    PathBuf::from(said.trim())
}

#[test]
fn from_the_tarball_everything_runs_without_a_source_tree() {
    let mut saga = Saga::new("saga-tarball");
    let scratch = saga.home.with_extension("unpacked");
    fs::create_dir_all(&scratch).unwrap();
    saga.watchdog.deletes(&scratch).unwrap();
    let dir = installed(&scratch);
    units_are_sound(&dir);
    // Moved, so that nothing finds its way back by chance.
    let elsewhere = scratch.join("opt");
    fs::rename(&dir, &elsewhere).unwrap();
    saga.program = elsewhere.join("bin/saga");
    // As the README there says, since a release has no demonstration.
    saga.variables.push(("DEMO", 0));
    let welcome = saga.run(&["up"]);
    assert!(
        welcome.contains("psql 'postgres://") && welcome.contains("INTO products"),
        "{welcome}"
    );
    let order = saga.process("order").pid;
    let runs = fs::read_link(format!("/proc/{order}/exe")).unwrap();
    assert_eq!(runs, elsewhere.join("bin/order-service"));
    let placed = saga.run(&["order", "place", "--scenario", "confirmed", "--watch"]);
    assert!(placed.contains("CONFIRMED"), "{placed}");
    saga.run(&["down"]);
    assert!(!saga.home.exists());
    fs::remove_dir_all(scratch).unwrap();
}

/// Where there is a systemd to ask.
fn units_are_sound(dir: &Path) {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let units = dir.join("systemd");
    let unit = units.join("quadrille@order.service");
    let template = fs::read_to_string(units.join("quadrille@.service")).unwrap();
    fs::write(&unit, template.replace("/opt/quadrille", dir.to_str().unwrap())).unwrap();
    for arguments in [&["verify"][..], &["security", "--offline=true", "--threshold=14"]] {
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(arguments).arg(&unit).output().unwrap();
        let (said, complained) = text(&output);
        assert!(output.status.success() && complained.is_empty(), "{said}{complained}");
    }
    fs::remove_file(unit).unwrap();
}
