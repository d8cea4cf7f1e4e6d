use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(inventory::NAME, inventory::service)
}
