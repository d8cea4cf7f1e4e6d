use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(loyalty::NAME, loyalty::service)
}
