//! Messages and the service, generated from `proto/open_inference.proto`.

tonic::include_proto!("inference");

/// The description of the service, for reflection.
pub(crate) const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/open_inference.bin"));
