//! `saga completions`: prints the script that completes this command in a shell.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};
use kit::output;

/// Print completions for bash, zsh or fish
#[derive(Args)]
#[command(after_help = "Examples:
  saga completions bash >~/.local/share/bash-completion/completions/saga
  saga completions zsh >~/.zfunc/_saga        with `fpath+=~/.zfunc` in ~/.zshrc, before compinit
  saga completions fish >~/.config/fish/completions/saga.fish")]
pub struct Completions {
    shell: Known,
}

#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(&self, command: clap::Command) -> ExitCode {
        output::line(self.script(command).trim_end());
        ExitCode::SUCCESS
    }

    pub fn script(&self, mut command: clap::Command) -> String {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut command, "saga", &mut script);
        String::from_utf8(script).expect("a script is text")
    }
}
