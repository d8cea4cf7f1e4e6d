//! `saga logs`: shows the services' logs, each line with its service before it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use events::add_ons;
use kit::colour::{Colour, paint};
use kit::home::Home;
use kit::service::Service;
use kit::settings::{SERVICES, Settings};
use kit::stop::Stop;
use servers::tail;
use tokio::time::sleep;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

const COLOURS: [Colour; 5] =
    [Colour::Cyan, Colour::Green, Colour::Yellow, Colour::Magenta, Colour::Blue];

/// Follow the logs, each line with its service before it
#[derive(Args)]
#[command(after_help = "Examples:
  saga logs                            of the four services, as they write
  saga logs payment rabbitmq -n 100
  saga logs --no-follow inventory")]
pub struct Logs {
    /// The services to show; all four by default. Also: mock-gateway, rabbitmq,
    /// postgres-order and so on
    services: Vec<String>,
    /// Show what is there, and end
    #[arg(long)]
    no_follow: bool,
    /// How many lines of each log to begin with
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: usize,
}

/// One log, and the position up to which it has been shown.
struct Followed {
    label: String,
    file: PathBuf,
    position: u64,
    inode: u64,
    /// A line whose end has not been written yet.
    rest: Vec<u8>,
}

impl Logs {
    pub async fn run(self) -> Result<ExitCode> {
        let settings = Settings::read()?;
        let mut logs = self.chosen(&settings)?;
        ensure!(
            logs.iter().any(|log| log.file.exists()),
            "no such logs in {}: `saga up` starts the services (in containers: `make docker-logs`)",
            settings.home.display()
        );
        let mut stop = Stop::listen()?;
        let mut follow = async || -> std::io::Result<()> {
            for log in &mut logs {
                log.begin(self.lines)?;
            }
            if self.no_follow {
                return Ok(());
            }
            loop {
                for log in &mut logs {
                    log.show_more()?;
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            shown = follow() => match shown {
                // The reader has closed the pipe, as in `saga logs | head`.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                shown => shown?,
            },
            _ = stop.asked() => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    fn chosen(&self, settings: &Settings) -> Result<Vec<Followed>> {
        let mut known = known(settings)?;
        for name in &self.services {
            if !known.iter().any(|log| log.is(name)) {
                let names: Vec<&str> = known.iter().map(|log| log.name.as_str()).collect();
                bail!("there is no {name}; there are {}", names.join(", "));
            }
        }
        let services: Vec<String> = match self.services.is_empty() {
            true => SERVICES.into_iter().chain(add_ons()).map(str::to_owned).collect(),
            false => self.services.clone(),
        };
        known.retain(|log| services.iter().any(|name| log.is(name)));
        let width = known.iter().map(|log| log.name.len()).max().unwrap_or_default();
        let colours = COLOURS.into_iter().cycle();
        Ok(known
            .into_iter()
            .zip(colours)
            .map(|(Log { name, file, .. }, colour)| {
                let label = paint(colour, &format!("{name:<width$} |"));
                Followed { label, file, position: 0, inode: 0, rest: Vec::new() }
            })
            .collect())
    }
}

/// A log that can be shown.
struct Log {
    name: String,
    /// Names all copies of a service.
    service: &'static str,
    file: PathBuf,
}

impl Log {
    fn is(&self, name: &str) -> bool {
        name == self.name || name == self.service
    }
}

fn known(settings: &Settings) -> Result<Vec<Log>> {
    let home = Home::new(settings);
    let mut services = Service::all(settings)?;
    services.push(Service::mock_gateway(settings)?);
    let services = services.into_iter().map(|one| Log {
        name: one.name.to_owned(),
        service: one.service,
        file: one.log_file(),
    });
    let server = |name: String, file| Log { name, service: "", file };
    let brokers = home
        .brokers()
        .into_iter()
        .map(|node| server(file_name(&node.dir), node.dir.join("log/rabbit.log")));
    let pairs = settings.databases.iter().flat_map(|database| home.pair(database));
    let databases = pairs.map(|one| server(file_name(&one.dir), one.dir.join("server.log")));
    let proxy = home.proxy().map(|one| server(file_name(&one.dir), one.dir.join("server.log")));
    Ok(services.chain(brokers).chain(databases).chain(proxy).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}

impl Followed {
    /// Shows the last lines, and continues from there.
    fn begin(&mut self, lines: usize) -> std::io::Result<()> {
        if let Ok(found) = std::fs::metadata(&self.file) {
            (self.position, self.inode) = (found.len(), found.ino());
            let text = tail(&self.file, lines);
            for line in text.lines() {
                self.show(line.as_bytes())?;
            }
        }
        Ok(())
    }

    fn show_more(&mut self) -> std::io::Result<()> {
        let Ok(mut file) = File::open(&self.file) else {
            return Ok(());
        };
        let found = file.metadata()?;
        if found.ino() != self.inode || found.len() < self.position {
            // A new file, or one that was emptied.
            (self.position, self.inode) = (0, found.ino());
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.read_to_end(&mut self.rest)?;
        self.position += read as u64;
        let text = std::mem::take(&mut self.rest);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text[..end].split_inclusive(|byte| *byte == b'\n') {
            self.show(line.trim_ascii_end())?;
        }
        self.rest = text[end..].to_vec();
        Ok(())
    }

    fn show(&self, line: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {}", self.label, String::from_utf8_lossy(line))
    }
}
