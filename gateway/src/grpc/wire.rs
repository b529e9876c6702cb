//! Messages are looked at before they are decoded.

use modelgate_codec::oip::wire::{self, Refused};
use tonic::Status;

/// Bytes of every message but inference requests.
pub(super) const SMALL_MESSAGE: usize = 64 << 10;

/// A message that is looked at before it is decoded.
pub(super) trait Checked {
    /// Refuses what would take too much. Gives what it takes once it is decoded beside its texts, in bytes.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, or `INVALID_ARGUMENT` for what is no message.
    fn check(wire: &[u8]) -> Result<usize, Status> {
        if wire.len() > SMALL_MESSAGE {
            return Err(Status::resource_exhausted(format!("the message is over the limit of {SMALL_MESSAGE} bytes")));
        }
        Ok(wire.len())
    }
}

/// Refuses an inference request that would take too much once it is decoded. Gives what it takes, in bytes.
///
/// # Errors
/// As [`Checked::check`].
pub(super) fn infer_request(message: &[u8]) -> Result<usize, Status> {
    wire::infer_request(message).map_err(|refused| match refused {
        Refused::Malformed => Status::invalid_argument("the message is not one of the protocol's"),
        Refused::TooLarge { most } => Status::resource_exhausted(format!(
            "the message takes more than {most} bytes once decoded; tensors take least as raw_input_contents"
        )),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic::Code;

    use super::*;
    use crate::grpc::proto::{InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor};

    fn code(wire: &[u8]) -> Option<Code> {
        infer_request(wire).err().map(|status| status.code())
    }

    fn typed(contents: InferTensorContents) -> Vec<u8> {
        let contents = Some(contents);
        let input = InferInputTensor { name: "x".into(), shape: vec![1, 2], contents, ..InferInputTensor::default() };
        ModelInferRequest { inputs: vec![input], ..ModelInferRequest::default() }.encode_to_vec()
    }

    #[test]
    fn what_takes_many_times_its_bytes_is_refused() {
        let exhausted = Some(Code::ResourceExhausted);
        for (field, count) in [(0x2a, 1 << 20), (0x32, 1 << 20), (0x22, 1 << 20), (0x3a, 1 << 20)] {
            assert_eq!(code(&[field, 0].repeat(count)), exhausted, "field {field:#x}");
        }
        let lists = [
            InferTensorContents { int64_contents: vec![1; 4 << 20], ..Default::default() },
            InferTensorContents { bytes_contents: vec![bytes::Bytes::new(); 1 << 20], ..Default::default() },
        ];
        for contents in lists {
            assert_eq!(code(&typed(contents)), exhausted);
        }
        // Numbers that are not packed, and contents that come in parts.
        assert_eq!(code(&[0x2a, 4, 0x2a, 2, 0x18, 0].repeat(1 << 20)), exhausted);
    }

    #[test]
    fn plain_requests_are_taken_at_any_size() {
        for contents in [
            InferTensorContents { fp32_contents: vec![1.0; 4 << 20], ..Default::default() },
            InferTensorContents { int64_contents: vec![1; 1 << 20], ..Default::default() },
            InferTensorContents { int64_contents: vec![-1; 4 << 20], ..Default::default() },
            InferTensorContents {
                bytes_contents: vec![bytes::Bytes::from_static(b"some text of ours"); 1 << 20],
                ..Default::default()
            },
        ] {
            assert_eq!(code(&typed(contents)), None);
        }
        let raw = vec![bytes::Bytes::from(vec![0; 16 << 20])];
        let raw = ModelInferRequest { raw_input_contents: raw, ..ModelInferRequest::default() };
        assert_eq!(code(&raw.encode_to_vec()), None);
        assert_eq!(infer_request(&raw.encode_to_vec()).expect("taken"), 32);
    }

    #[test]
    fn what_is_no_message_is_not_decoded() {
        for wire in
            [&[0x2a, 5, 0][..], &[0x2a], &[0x80; 11], &[0x0b, 0x0c], &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(code(wire), Some(Code::InvalidArgument), "{wire:?}");
        }
        assert_eq!(code(&[]), None);
    }
}
