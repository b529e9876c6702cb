//! What `modelgate module new --lang rust` writes compiles, and its own tests pass.

#[path = "../../templates/rust/src/lib.rs"]
mod template;
