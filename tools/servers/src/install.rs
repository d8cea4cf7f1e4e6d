//! Finds the programs that are needed, and installs missing ones on Debian.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use tokio::process::Command;

/// The package, and the program.
const BROWSER: &str = "chromium";

/// The package, and its library: a separate time of day for one process.
const FAKETIME: (&str, &str) = ("faketime", "faketime/libfaketimeMT.so.1");

/// The package, and the program.
const HAPROXY: &str = "haproxy";

/// The packages, and their programs.
const MONITORING: &[&str] = &[PROMETHEUS, NODE_EXPORTER];
const PROMETHEUS: &str = "prometheus";
const NODE_EXPORTER: &str = "prometheus-node-exporter";

/// Where Debian's packages put it.
const POSTGRES: &str = "/usr/lib/postgresql";

/// The program, and its packages.
const PYTHON: &[&str] = &["python3", "python3-venv"];

/// The directories of the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The directory with `initdb`, `postgres` and `psql`.
    pub postgres: PathBuf,
    /// The directory with `rabbitmq-server`.
    pub rabbitmq: PathBuf,
    pub epmd: PathBuf,
    /// The directory with `erl`, where that is not on the PATH.
    pub erlang: Option<PathBuf>,
}

impl Programs {
    /// Uses RabbitMQ and its Erlang from another root than the machine's (`release::rabbitmq`).
    #[must_use]
    pub fn with_rabbitmq_of(self, root: &Path) -> Self {
        let erlang = root.join("usr/lib/erlang/bin");
        let (rabbitmq, epmd) = (root.join("usr/lib/rabbitmq/bin"), erlang.join("epmd"));
        Self { rabbitmq, epmd, erlang: Some(erlang), ..self }
    }
}

/// Installs missing programs, without starting the machine's own servers. If nothing is missing, it
/// changes nothing.
pub async fn ensure() -> Result<Programs> {
    let _turn = turn().await?;
    let missing = missing();
    if !missing.is_empty() {
        install(&missing).await?;
    }
    find()
}

/// A Chromium for tests, installed where it is missing.
pub async fn browser() -> Result<PathBuf> {
    let _turn = turn().await?;
    if on_path(BROWSER).is_none() {
        install(&[BROWSER]).await?;
    }
    on_path(BROWSER).context("chromium was installed, and is not on the PATH")
}

/// HAProxy, installed where it is missing.
pub async fn ensure_haproxy() -> Result<PathBuf> {
    let _turn = turn().await?;
    if on_path(HAPROXY).is_none() {
        install(&[HAPROXY]).await?;
    }
    haproxy()
}

pub fn haproxy() -> Result<PathBuf> {
    on_path(HAPROXY).with_context(|| wanted(&[HAPROXY]))
}

/// Prometheus and node_exporter, installed where they are missing.
pub async fn ensure_monitoring() -> Result<()> {
    let _turn = turn().await?;
    if MONITORING.iter().any(|program| on_path(program).is_none()) {
        install(MONITORING).await?;
    }
    prometheus().and(node_exporter()).map(drop)
}

pub fn prometheus() -> Result<PathBuf> {
    on_path(PROMETHEUS).with_context(|| wanted(&[PROMETHEUS]))
}

pub fn node_exporter() -> Result<PathBuf> {
    on_path(NODE_EXPORTER).with_context(|| wanted(&[NODE_EXPORTER]))
}

/// A Python that can make virtual environments, installed where it is missing.
pub async fn python() -> Result<PathBuf> {
    let _turn = turn().await?;
    if python_with_venv().await.is_none() {
        install(PYTHON).await?;
    }
    python_with_venv().await.context("python3 and python3-venv were installed, and do not work")
}

/// The library that gives a process a separate time of day, installed where it is missing.
pub async fn faketime() -> Result<PathBuf> {
    let _turn = turn().await?;
    let (package, library) = FAKETIME;
    let find = || {
        let mut folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
        folders.find_map(|folder| Some(folder.path().join(library)).filter(|path| path.exists()))
    };
    if find().is_none() {
        install(&[package]).await?;
    }
    find().context("faketime was installed, and has no library below /usr/lib")
}

/// Debian packages the module for virtual environments separately.
async fn python_with_venv() -> Option<PathBuf> {
    let python = on_path(PYTHON[0])?;
    let mut check = Command::new(&python);
    check.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null());
    check.status().await.ok()?.success().then_some(python)
}

/// The programs, or an error that says what to install.
pub fn find() -> Result<Programs> {
    let missing = missing();
    ensure!(missing.is_empty(), "{}", wanted(&missing));
    let (postgres, rabbitmq, epmd) = (postgres(), rabbitmq(), on_path("epmd"));
    let all = postgres.zip(rabbitmq).zip(epmd);
    let ((postgres, rabbitmq), epmd) = all.context("a program vanished while it was looked for")?;
    Ok(Programs { postgres, rabbitmq, epmd, erlang: None })
}

/// The packages, by Debian's names, each with its installed version.
pub fn packages() -> [(&'static str, Option<String>); 2] {
    let missing = missing();
    let there = |package: &str| !missing.contains(&package);
    let postgres = postgres().filter(|_| there("postgresql")).and_then(|bin| {
        let told = std::process::Command::new(bin.join("postgres")).arg("--version").output();
        let told = String::from_utf8(told.ok()?.stdout).ok()?;
        Some(told.trim_start_matches("postgres (PostgreSQL)").trim().to_owned())
    });
    let rabbitmq = rabbitmq().filter(|_| there("rabbitmq-server")).and_then(|bin| {
        let versions = std::fs::read_dir(bin.parent()?.join("lib")).ok()?.flatten();
        let mut names = versions.filter_map(|entry| entry.file_name().into_string().ok());
        names.find_map(|name| Some(name.strip_prefix("rabbitmq_server-")?.to_owned()))
    });
    [("postgresql", postgres), ("rabbitmq-server", rabbitmq)]
}

/// Whether `ensure` can install missing programs; it may ask for a password.
pub fn can_install() -> bool {
    let debian = on_path("apt-get").is_some() && on_path("dpkg").is_some();
    debian && (Uid::effective().is_root() || on_path("sudo").is_some())
}

/// The packages, by Debian's names, whose programs are missing.
fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if postgres().is_none() {
        packages.push("postgresql");
    }
    if rabbitmq().is_none() || on_path("erl").is_none() || on_path("epmd").is_none() {
        packages.push("rabbitmq-server");
    }
    packages
}

fn wanted(packages: &[&str]) -> String {
    let named = packages.join(" and ");
    let place = match packages {
        [BROWSER | HAPROXY | NODE_EXPORTER] | ["python3" | PROMETHEUS, ..] => "on the PATH",
        [name] if *name == FAKETIME.0 => "with its library below /usr/lib",
        _ => {
            "with programs in /usr/lib/postgresql/*/bin and /usr/lib/rabbitmq/bin, as Debian's \
             packages have them, and erl and epmd on the PATH"
        }
    };
    format!("{named} must be installed first: {place}")
}

/// One process at a time looks and installs: in the middle of an installation the programs are
/// there, and do not work yet.
async fn turn() -> Result<Option<File>> {
    let Ok(packages) = File::open("/var/lib/dpkg") else { return Ok(None) };
    Ok(Some(locked(packages).await?))
}

/// The file or folder, locked until it is dropped, whichever process asks.
pub async fn locked(file: File) -> Result<File> {
    tokio::task::spawn_blocking(move || file.lock().map(|()| file))
        .await?
        .context("cannot wait for another process that installs")
}

async fn install(packages: &[&str]) -> Result<()> {
    let debian = on_path("apt-get").is_some() && on_path("dpkg").is_some();
    ensure!(debian, "{} (this machine has no apt-get to do it with)", wanted(packages));
    let mut command = if Uid::effective().is_root() {
        Command::new("sh")
    } else {
        ensure!(
            on_path("sudo").is_some(),
            "{} are missing, and this user can install nothing without sudo: as root, run \
             `apt-get install {}`",
            packages.join(" and "),
            packages.join(" ")
        );
        let mut sudo = Command::new("sudo");
        if !std::io::stdin().is_terminal() {
            sudo.arg("-n");
        }
        sudo.arg("sh");
        sudo
    };
    eprintln!(
        "Installing {} with apt-get (the machine's own servers are not started) …",
        packages.join(" and ")
    );
    let status = command
        .args(["-c", include_str!("install.sh"), "quadrille-install"])
        .args(packages)
        .stdout(Stdio::null())
        .status()
        .await
        .context("cannot run the installation")?;
    ensure!(
        status.success(),
        "installing {} failed ({status}), see above; by hand it is `apt-get install {}`, as root",
        packages.join(" and "),
        packages.join(" ")
    );
    Ok(())
}

/// The newest.
fn postgres() -> Option<PathBuf> {
    Some(versions(Path::new(POSTGRES)).pop()?.1)
}

/// The directory with the programs of this major version, which existing data need.
pub fn postgres_of(version: &str) -> Option<PathBuf> {
    of_version(Path::new(POSTGRES), version)
}

fn of_version(root: &Path, version: &str) -> Option<PathBuf> {
    let wanted: u32 = version.trim().parse().ok()?;
    let mut versions = versions(root).into_iter();
    versions.find_map(|(version, bin)| (version == wanted).then_some(bin))
}

/// Debian keeps a directory a major version; the newest is last.
fn versions(root: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, bin)| ["initdb", "postgres", "psql"].iter().all(|it| bin.join(it).exists()))
        .collect();
    versions.sort();
    versions
}

/// These scripts run as any user; `/usr/sbin/rabbitmq-server` needs root or the user `rabbitmq`.
fn rabbitmq() -> Option<PathBuf> {
    let bin = Path::new("/usr/lib/rabbitmq/bin");
    bin.join("rabbitmq-server").exists().then(|| bin.to_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    // A user's PATH on Debian has no sbin, and a service's may be empty.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn existing_data_get_their_own_version_and_new_ones_the_newest() {
        let root = std::env::temp_dir().join(format!("quadrille-versions-{}", std::process::id()));
        for version in ["9", "15", "17"] {
            let bin = root.join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in ["initdb", "postgres", "psql"] {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        // Its server has been removed.
        fs::create_dir_all(root.join("18/bin")).unwrap();
        let bin = |version: &str| root.join(version).join("bin");
        assert_eq!(versions(&root).pop().map(|(_, bin)| bin), Some(bin("17")));
        assert_eq!(of_version(&root, "15\n"), Some(bin("15")));
        assert_eq!(of_version(&root, "18\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
