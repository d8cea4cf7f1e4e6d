//! Defines the command line that all four binaries share.

use crate::{Common, Service, boot::Boot, health};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ContextKind};
use database::Transaction;
use messaging::Store;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{process::ExitCode, thread::available_parallelism};

#[derive(Parser)]
struct Cli<T: Args> {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: T,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Serves until SIGTERM (the default command)
    Run,
    /// Applies the migrations and exits
    Migrate,
    /// Readiness probe: exits with 0 when the service is connected and consuming
    Healthcheck {
        /// Liveness probe: exits with 0 unless the service is dead or stuck, whatever its database
        /// and broker do
        #[arg(long)]
        alive: bool,
    },
}

/// The whole `main` of a service.
pub fn main<T: Args, S: Store<Tx = Transaction>>(
    name: &'static str,
    service: impl FnOnce(&T) -> anyhow::Result<Service<S>>,
) -> ExitCode {
    let cli = parse::<T>(name);
    let command = cli.command.unwrap_or(Command::Run);
    let done = match command {
        Command::Healthcheck { alive: false } => {
            health::check(&cli.common.health_file(name)).map(|waits| {
                waits.iter().for_each(|why| eprintln!("{name}-service: {why}"));
            })
        }
        Command::Healthcheck { alive: true } => health::check_alive(&cli.common.health_file(name)),
        Command::Run | Command::Migrate => telemetry::logs(&cli.common.log, cli.common.log_format)
            .and_then(|()| service(&cli.own))
            .and_then(|service| start(service.into(), &cli.common, command)),
    };
    telemetry::flush_logs();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name}-service: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(service: Boot, common: &Common, command: Command) -> anyhow::Result<()> {
    // It would have the passwords in it. An operator who needs one raises the limit with `prlimit`.
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, most)?;
    telemetry::start(common.export(service.name, service.page())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Migrate => service.migrate(common).await,
            Command::Run | Command::Healthcheck { .. } => service.run(common).await,
        }
    });
    // Tasks that still wait for a frozen server must not keep the process alive.
    runtime.shutdown_background();
    telemetry::flush();
    done
}

/// Half of the processors: with more of them work would move between threads that wake each other.
fn threads() -> usize {
    available_parallelism().map_or(1, |processors| processors.get() / 2).max(1)
}

const ALSO: &str = "\
Besides these, read from the environment:
  OTEL_EXPORTER_OTLP_HEADERS   Headers for the collector: name=value, with commas between them
  OTEL_BSP_SCHEDULE_DELAY      Interval of the export of traces in milliseconds [default: 5000]
  OTEL_METRIC_EXPORT_INTERVAL  Interval of the export of metrics in milliseconds [default: 60000]";

/// Its options may stand before the command and after it.
fn command<T: Args>(name: &'static str) -> clap::Command {
    let program = format!("{name}-service");
    let about = format!("Runs the {name} service, or prepares or probes it");
    let command = Cli::<T>::command().display_name(&program).bin_name(program);
    let command = command.version(env!("CARGO_PKG_VERSION")).about(about).after_help(ALSO);
    command.mut_args(|arg| arg.global(true))
}

/// A wrong value is reported with the variable's name and a value that would be right.
fn parse<T: Args>(name: &'static str) -> Cli<T> {
    let command = command::<T>(name);
    let parsed =
        command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        let wrong = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let example = command.get_arguments().find_map(|arg| {
            let variable = arg.get_env()?.to_str()?;
            let usual = arg.get_default_values().first()?.to_str()?;
            wrong.contains(&format!("<{variable}>")).then(|| format!("{variable}={usual}"))
        });
        let _ = error.print();
        if let Some(example) = example {
            eprintln!("In the environment it is written like this: {example}");
        }
        std::process::exit(error.exit_code());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Args)]
    struct Own {
        /// Its address
        #[arg(long, default_value = "here")]
        address: String,
    }

    #[test]
    fn an_option_may_stand_before_the_command_and_after_it() {
        for (arguments, address) in [
            (&["x", "run", "--address", "there"][..], "there"),
            (&["x", "--address", "there", "run"], "there"),
            (&["x", "run"], "here"),
            (&["x"], "here"),
        ] {
            let matches = command::<Own>("x").try_get_matches_from(arguments).unwrap();
            let cli = Cli::<Own>::from_arg_matches(&matches).unwrap();
            assert_eq!(cli.own.address, address, "{arguments:?}");
        }
    }

    #[test]
    fn the_help_says_whose_it_is_and_what_else_is_read() {
        let help = command::<Own>("x").render_help().to_string();
        assert!(help.starts_with("Runs the x service"), "{help}");
        assert!(help.contains("OTEL_EXPORTER_OTLP_HEADERS "), "{help}");
        let version = command::<Own>("x").render_version();
        assert_eq!(version, format!("x-service {}\n", env!("CARGO_PKG_VERSION")));
    }
}
