//! stub
use modelgate_columns::{LayoutError, Signature};
use std::{sync::Arc, time::Instant};
#[derive(Debug)]
pub struct Model(Signature);
#[derive(Debug, Default)]
pub struct ModelLimits;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ModelError;
#[derive(Debug)]
pub struct Session(Arc<Model>);
#[derive(Debug)]
pub enum ComputeError {
    Input(LayoutError),
    Deadline,
    Model(String),
}
impl Model {
    pub fn load(_onnx: &[u8], _l: &ModelLimits) -> Result<Self, ModelError> {
        Ok(Self(Signature::default()))
    }
    pub fn signature(&self) -> &Signature {
        &self.0
    }
    pub fn session(self: &Arc<Self>) -> Session {
        Session(self.clone())
    }
    pub fn resident_bytes(&self) -> usize {
        0
    }
}
impl Session {
    pub fn signature(&self) -> &Signature {
        &self.0.0
    }
    pub fn compute(&mut self, _rows: u32, _inputs: &[u64], _d: Option<Instant>) -> Result<Vec<u64>, ComputeError> {
        Err(ComputeError::Deadline)
    }
}
