//! Where a customer comes in: places orders, and remembers what becomes of them.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::main(order::NAME, order_page::service)
}
