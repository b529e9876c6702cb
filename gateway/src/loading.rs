//! Bundles are loaded first where that can be killed: in a process of their own.
//!
//! A graph of 230 bytes may ask for gigabytes, and a module of 4 MB may keep a compiler busy for minutes. Nothing ends a
//! thread of the gateway that runs into either, and memory that runs out ends the gateway. So a child process, started from the
//! gateway's own binary, reads, compiles, optimises and tries a bundle first. Its memory, processor time, files, network and
//! system calls are limited ([`confine`]), its environment is empty, the kernel ends it first where memory runs short, and
//! the gateway kills it when its time is up. A bundle whose child did not end well is refused, and nothing of it
//! has come near the gateway. A bundle whose child ended well is then loaded by the gateway itself, which by then knows
//! that this ends and how much it takes.
//!
//! # What the gateway takes from a child
//!
//! A child sends one message through a pipe: what is wrong with the bundle, or a [`Report`] and the machine code that it
//! compiled. The child writes no file.
//!
//! - **Machine code** runs in the gateway, outside any sandbox, so a child must not be able to leave code in the place of somebody
//!   else's. The gateway looks code up under names that it derives itself, from the digests of the bundle's modules: code
//!   under any other name is dropped unread. Code of the modules that come with the gateway is never taken from a child;
//!   the gateway compiles those itself, before it starts one. An entry that the code cache has already wins.
//! - **The report** decides nothing that protects others: that rows may be joined is believed only where the gateway's own
//!   analysis of the graph allows it and the model has the plans that were tried, and the golden examples are run again.
//!
//! A module that takes over its compiler (a fault in Cranelift, not merely one that is slow) can thus choose the code of
//! the modules of its own bundle. That code runs in the gateway, as it would if the gateway compiled the module itself: a
//! child bounds what a load takes and survives its crashes, it is no second sandbox around the compiler.
//! The same holds for a graph that takes over the loader of graphs, which the gateway runs again.
//!
//! # Reports
//!
//! A report is kept beside the code cache under a digest of the bundle, the binary, the processor and the ceilings. A start or an
//! activation with a report needs no child.

pub mod child;
mod confine;
mod loader;
mod message;
mod parent;
mod report;
mod throttle;

pub use self::{
    loader::{Loader, LoadingConfig, Refusal, Subject, Vetted},
    report::Report,
    throttle::Throttle,
};

/// Where bundles are loaded first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadIsolation {
    /// In a child process.
    #[default]
    Process,
    /// Nowhere: the gateway loads them at once.
    None,
}
