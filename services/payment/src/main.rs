use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(payment::NAME, payment::service)
}
