//! Checks the commands in the documents: those of the README and the tour are run, on a system of
//! their own, and each `saga` or `lab` command of any page exists.

use crate::{Saga, text};
use kit::settings::Settings;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tidy::{Block, blocks, documents, read, root, spans};

/// The tour's order that gets stuck, until its dead letter is replayed.
const EXAMPLE: &str = "01a1fcc6-99ef-7b1d-a6ad-3fde23bb25c1";
const PAGES: [&str; 2] = ["README.md", "docs/tour.md"];
const SOON: Duration = Duration::from_secs(30);

/// `make` only prints what it would do, and `curl` fails on an error status.
const SHIMS: [(&str, &str); 2] = [
    ("make", "cd \"$ROOT\" && exec \"$MAKE_ITSELF\" --dry-run \"$@\" >/dev/null"),
    ("curl", "exec \"$CURL_ITSELF\" --silent --show-error --fail-with-body --max-time 20 \"$@\""),
];

#[tokio::test]
async fn every_command_of_the_readme_and_the_tour_does_what_it_shows() {
    let mut saga = Saga::new("saga-readme");
    (saga.gateway, saga.retry_delays) = ("http", "50ms");
    saga.run(&["up"]);
    let reader = Reader::new(saga);
    let well = reader.place();
    let seen = reader.saga.run(&["order", "watch", &well]);
    assert!(seen.contains("CONFIRMED"), "{seen}");
    let stopped = reader.place_stopped().await;

    let mut shown = 0;
    for (page, block) in shown_on(&PAGES) {
        let code = block.code.replace("<id>", &well);
        let code = code.replace(EXAMPLE, &stopped).replace(&EXAMPLE[..8], &stopped);
        if code.contains("saga dlq replay") {
            reader.change("ALTER TABLE reservations DROP CONSTRAINT a_bug").await;
        }
        match block.language.as_str() {
            "sh" => reader.succeeds(&code, page, &block),
            "console" => reader.shows(&code, page, &block),
            _ => continue,
        }
        shown += 1;
    }
    assert!(shown >= 6, "{PAGES:?} show {shown} blocks of commands only");
    reader.saga.run(&["down"]);
}

fn shown_on<'a>(pages: &[&'a str]) -> Vec<(&'a str, Block)> {
    let shown = |page| blocks(&read(page)).into_iter().map(move |block| (page, block));
    pages.iter().copied().flat_map(shown).collect()
}

/// A system for the commands of the pages.
struct Reader {
    saga: Saga,
    shims: PathBuf,
}

impl Reader {
    fn new(saga: Saga) -> Self {
        let shims = saga.home.join("shims");
        fs::create_dir_all(&shims).unwrap();
        for (name, script) in SHIMS {
            let file = shims.join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { saga, shims }
    }

    fn place(&self) -> String {
        let placed = self.saga.told(&["order", "place", "--scenario", "confirmed"]);
        placed["order_id"].as_str().unwrap().to_owned()
    }

    /// An order that inventory cannot save.
    async fn place_stopped(&self) -> String {
        self.change("ALTER TABLE reservations ADD CONSTRAINT a_bug CHECK (false) NOT VALID").await;
        let id = self.place();
        let deadline = Instant::now() + SOON;
        loop {
            let why = self.saga.run(&["why", &id]);
            if why.contains("dead letter") {
                return id;
            }
            assert!(Instant::now() < deadline, "no dead letter: {why}");
            sleep(Duration::from_millis(100));
        }
    }

    async fn change(&self, sql: &'static str) {
        let port = self.saga.port("INVENTORY_DB_PORT").to_string();
        let settings = Settings::from(|name| (name == "INVENTORY_DB_PORT").then(|| port.clone()));
        let url = settings.unwrap().database("inventory").unwrap().url();
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }

    fn bash(&self, code: &str) -> Output {
        let ports = [(3001, "ORDER_HTTP_PORT"), (3002, "MOCK_GATEWAY_PORT")];
        let mut code = code.to_owned();
        for (default, variable) in ports {
            let (from, to) = (format!("127.0.0.1:{default}"), self.saga.port(variable));
            code = code.replace(&from, &format!("127.0.0.1:{to}"));
        }
        let saga = Path::new(env!("CARGO_BIN_EXE_saga")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let own = self.saga.command(&[]);
        let settings = own.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &code]).envs(settings);
        bash.env("MAKE_ITSELF", which("make", &path)).env("CURL_ITSELF", which("curl", &path));
        bash.env("PATH", format!("{}:{}:{path}", self.shims.display(), saga.display()));
        bash.env("ROOT", root()).current_dir(&self.saga.home).output().unwrap()
    }

    fn succeeds(&self, code: &str, page: &str, block: &Block) {
        let output = self.bash(code);
        let (said, complained) = text(&output);
        assert!(output.status.success(), "{page}:{}: {said}{complained}", block.line);
    }

    /// Each command that begins with `$` prints the lines below it, except for values that vary.
    fn shows(&self, code: &str, page: &str, block: &Block) {
        for shown in code.split("$ ").skip(1) {
            let (command, wanted) = shown.split_once('\n').unwrap();
            let deadline = Instant::now() + SOON;
            let only_looks = command.starts_with("saga why");
            loop {
                let output = self.bash(command);
                let (said, complained) = text(&output);
                let lines: Vec<_> = said.lines().map(shape).collect();
                let missing = wanted.lines().find(|line| {
                    let wanted = shape(line);
                    !lines.iter().any(|line| line.starts_with(&wanted))
                });
                let Some(missing) = missing else { break };
                let waits = only_looks && Instant::now() < deadline;
                let at = block.line;
                assert!(waits, "{page}:{at}: `{command}` has no {missing}\n{said}{complained}");
                sleep(Duration::from_millis(100));
            }
        }
    }
}

/// The words of a line up to a `…`; ids and numbers count as equal, and so do s and ms.
fn shape(line: &str) -> String {
    let words = line.split_whitespace().take_while(|word| *word != "…");
    let words = words.map(|word| match word {
        "ms" => "s",
        word if word.contains(|c: char| c.is_ascii_digit()) => "#",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn which(name: &str, path: &str) -> PathBuf {
    let found = path.split(':').map(|folder| Path::new(folder).join(name));
    found
        .into_iter()
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

#[test]
fn every_command_that_a_document_names_exists() {
    for document in documents() {
        let page = read(&document);
        let code = blocks(&page).into_iter().flat_map(|block| {
            let lines: Vec<_> = block.code.lines().map(str::to_owned).collect();
            (block.line..).zip(lines)
        });
        for (line, command) in code.chain(spans(&page)) {
            let command = command.trim_start_matches("$ ");
            for name in ["saga", "lab"] {
                let Some(arguments) = command.strip_prefix(&format!("{name} ")) else { continue };
                let arguments = arguments.split([';', '|', '#', '>']).next().unwrap_or_default();
                if let Err(why) = check(name, &arguments.split_whitespace().collect::<Vec<_>>()) {
                    panic!("{document}:{line}: `{name} {arguments}`: {why}");
                }
            }
        }
    }
}

/// Whether the command exists, and has these options.
fn check(name: &str, arguments: &[&str]) -> Result<(), String> {
    let program = Path::new(env!("CARGO_BIN_EXE_saga")).with_file_name(name);
    let mut known = vec!["help"];
    let mut help = String::new();
    for word in arguments.iter().take_while(|word| **word != "--") {
        let is_command = known.len() == 1 || help.contains("\nCommands:");
        if word.starts_with("--") {
            let option = word.split('=').next().unwrap_or_default();
            let plain = ["--help", "--version"].contains(&option);
            if !plain && !help.contains(option) {
                return Err(format!("it has no {option}"));
            }
        } else if is_command && !word.contains('…') {
            known.push(word);
            let output = Command::new(&program).args(&known).output();
            let output = output.map_err(|why| why.to_string())?;
            if !output.status.success() {
                return Err(format!("there is no {word}"));
            }
            help = text(&output).0;
        }
    }
    Ok(())
}
