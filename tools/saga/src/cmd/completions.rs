//! `saga completions`: what a shell asks for to complete this command's words.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use crate::{cli, draw};

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
    pub fn run(self) -> ExitCode {
        draw::line(self.script().trim_end());
        ExitCode::SUCCESS
    }

    fn script(&self) -> String {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut cli::command(), "saga", &mut script);
        String::from_utf8(script).expect("a script is text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_is_told_of_every_command() {
        for shell in [Known::Bash, Known::Zsh, Known::Fish] {
            let script = Completions { shell }.script();
            for one in cli::command().get_subcommands() {
                assert!(script.contains(one.get_name()), "{}", one.get_name());
            }
        }
    }
}
