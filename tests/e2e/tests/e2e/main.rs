//! The whole system, by the real binaries on real servers: one file a subject.

mod clocks;
mod contract;
mod crash_points;
mod crashes;
mod crashing_replays;
mod dead_letters;
mod deadlines;
mod endings;
mod forgeries;
mod ladder;
mod lives;
mod messages;
mod metrics;
mod outages;
mod past;
mod poison;
mod provider;
mod rabbit;
mod races;
mod silence;
mod tail;
mod topology;
mod traces;
mod upgrades;
mod versions;
mod why;
