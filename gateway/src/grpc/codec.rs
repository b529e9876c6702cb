//! The protocol's messages as prost reads and writes them, looked at before they are decoded.

use std::marker::PhantomData;

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
    wire::{self, Checked},
};

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

/// Decodes what is small enough once it is decoded.
#[derive(Debug)]
pub(crate) struct CheckedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Checked + Default> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message is in one piece here.
        debug_assert_eq!(source.chunk().len(), source.remaining(), "a message in pieces");
        U::check(source.chunk())?;
        self.0.decode(source)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

impl Checked for ModelInferRequest {
    fn check(wire: &[u8]) -> Result<(), Status> {
        wire::infer_request(wire).map(|_| ())
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
