//! Checks the style and structure of the whole repository.

mod asyncapi;
mod choreography;
mod documents;
mod generated;
mod images;
mod migrations;
mod publishable;
mod purity;
mod size;
mod workflows;
