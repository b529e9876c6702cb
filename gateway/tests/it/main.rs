//! Behaviour over a real socket, with the real modules compiled from `modules/`.

mod bad_bundles;
mod bad_input;
mod batching;
mod cli;
mod documents;
mod lifecycle;
mod limits;
mod observability;
mod predict;
mod scoring;
mod support;
mod unruly;
mod v2;
