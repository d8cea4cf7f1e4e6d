//! What is deployed to Kubernetes, and what runs on GitHub, is held against what is so.

mod broker;
mod manifests;
mod security;
mod services;
mod workflow;
