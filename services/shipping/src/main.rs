use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(shipping::NAME, shipping::service)
}
