//! Behaviour over a real socket, with the real modules compiled from `modules/`.

#![allow(unreachable_pub, reason = "one crate, in which the modules use each other")]

mod admin;
mod amplification;
mod bad_bundles;
mod bad_input;
mod bad_releases;
mod bad_values;
mod batching;
mod boosters;
mod chance;
mod cli;
mod clients;
mod company;
mod connections;
mod documents;
mod embeddings;
mod fairness;
mod faulty;
mod flowers;
mod forms;
mod lifecycle;
mod limits;
mod loading;
mod mlflow;
mod multiplexed;
mod naming;
mod observability;
mod predict;
mod proven;
mod python;
mod real;
mod registry;
mod residency;
mod rules;
mod scoring;
mod sources;
mod stores;
mod support;
mod swap;
mod tensors;
mod training;
mod trials;
mod unruly;
mod v2;
mod whole_pipeline;
