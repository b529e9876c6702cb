//! Configuration: flags, then `MODELGATE_*` variables, then the TOML file, then defaults. Parsed once.

mod args;
mod aws_profile;
mod defaults;
mod lifecycle;
mod memory;
mod renamed;
mod resolve;
mod secret;
mod serve;

pub use self::{
    args::{ExtraFields, ServeArgs},
    defaults::{bundle_cache_folder, cache_folder},
    lifecycle::{Gate, LifecycleConfig, environment},
    renamed::Arguments,
    secret::{Secret, admin_token},
    serve::{HttpConfig, ServeConfig, SocketLocation, socket_name},
};
