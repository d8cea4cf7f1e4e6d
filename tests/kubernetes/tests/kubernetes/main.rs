//! Compares the Kubernetes manifests and the GitHub workflows with the code and the Makefile.

mod backups;
mod beside;
mod broker;
mod certificates;
mod edges;
mod manifests;
mod monitoring;
mod network;
mod restricted;
mod rollout;
mod scaling;
mod security;
mod services;
mod verify;
mod workflow;
