//! The protocol's messages as prost reads and writes them, looked at before they are decoded.

use std::{cell::RefCell, marker::PhantomData, pin::pin};

use bytes::Buf;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::{
    proto::{
        ModelConfigRequest, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ModelStatisticsRequest,
        RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest, ServerLiveRequest,
        ServerMetadataRequest, ServerReadyRequest,
    },
    status::status,
    wire::{self, Checked},
};
use crate::memory::{Claim, Permit};

/// Named in `build.rs`, so that every method of the service has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CheckedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CheckedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Checked + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(ProstCodec::<T, U>::raw_decoder(BufferSettings::default()))
    }
}

tokio::task_local! {
    /// Covers the message that is decoded next.
    static DECODED: RefCell<Permit>;
}

/// Grows `permit` by what a message takes before that is decoded in `message`.
pub(super) async fn counted<F: Future>(permit: &mut Permit, message: F) -> F::Output {
    let mut scope = pin!(DECODED.scope(RefCell::new(permit.take()), message));
    let message = scope.as_mut().await;
    if let Some(covered) = scope.take_value() {
        *permit = covered.into_inner();
    }
    message
}

/// Decodes what is small enough once it is decoded.
#[derive(Debug)]
pub(crate) struct CheckedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Checked + Default> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message is in one piece here.
        debug_assert_eq!(source.chunk().len(), source.remaining(), "a message in pieces");
        let decoded = U::check(source.chunk())?;
        let message = source.remaining();
        // Where the message comes of a stream: others are counted before they come here.
        let covered = DECODED.try_with(|permit| permit.borrow_mut().cover(message + decoded, Claim::Whole));
        if let Ok(Err(error)) = covered {
            return Err(status(&error));
        }
        self.0.decode(source)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

impl Checked for ModelInferRequest {
    fn check(wire: &[u8]) -> Result<usize, Status> {
        wire::infer_request(wire)
    }
}

impl Checked for ModelConfigRequest {}
impl Checked for ModelMetadataRequest {}
impl Checked for ModelReadyRequest {}
impl Checked for ModelStatisticsRequest {}
impl Checked for RepositoryIndexRequest {}
impl Checked for RepositoryModelLoadRequest {}
impl Checked for RepositoryModelUnloadRequest {}
impl Checked for ServerLiveRequest {}
impl Checked for ServerMetadataRequest {}
impl Checked for ServerReadyRequest {}
