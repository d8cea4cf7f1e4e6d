//! The whole system, by the real binaries on real servers: one file a subject.

mod endings;
