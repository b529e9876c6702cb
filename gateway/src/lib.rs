//! modelgate

pub mod model;
