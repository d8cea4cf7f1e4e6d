//! Runs the order service with its live page.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(order::NAME, order_page::service)
}
