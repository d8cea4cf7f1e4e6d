//! Runs the four services in one process, over a broker and databases in memory: the shipped
//! deciding code, order's HTTP and the live page, without RabbitMQ and Postgres.

mod backend;
mod database;
mod operator;
mod system;
mod verify;

pub use system::System;
pub use verify::{Verdict, verify};
