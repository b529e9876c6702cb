//! The output of `modelgate module new --lang rust` compiles, and its own tests pass.

#[path = "../../templates/rust/src/lib.rs"]
mod template;
