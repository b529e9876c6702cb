//! The memory that a message takes once it is decoded, counted by its wire format before it is: an empty tensor is two
//! bytes of a message and hundreds in memory.

use tonic::Status;

/// Bytes that one byte of a message may be decoded to.
const FACTOR: usize = 2;

/// Bytes that any message may be decoded to.
const FLOOR: usize = 8 << 20;

/// Bytes of every message but inference requests.
pub(super) const SMALL_MESSAGE: usize = 64 << 10;

/// The memory of an element of a list beside its own text, in bytes.
const TENSOR: usize = 384;
const OUTPUT: usize = 128;
const PARAMETER: usize = 160;
const SLICE: usize = 32;

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
pub(super) fn infer_request(wire: &[u8]) -> Result<usize, Status> {
    let most = wire.len().saturating_mul(FACTOR).saturating_add(FLOOR);
    let mut count = Count { taken: 0, most };
    count.request(wire).map(|()| count.taken).map_err(|refused| match refused {
        Refused::Malformed => Status::invalid_argument("the message is not one of the protocol's"),
        Refused::TooLarge => Status::resource_exhausted(format!(
            "the message takes more than {most} bytes once decoded; tensors take least as raw_input_contents"
        )),
    })
}

#[derive(Debug)]
enum Refused {
    Malformed,
    TooLarge,
}

struct Count {
    taken: usize,
    most: usize,
}

impl Count {
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.most { Err(Refused::TooLarge) } else { Ok(()) }
    }

    /// `ModelInferRequest`.
    fn request(&mut self, wire: &[u8]) -> Result<(), Refused> {
        for field in Fields(wire) {
            match field? {
                (1..=3, Value::Bytes(text)) => self.add(text.len())?,
                (4, Value::Bytes(entry)) => self.add(PARAMETER + entry.len())?,
                (5, Value::Bytes(input)) => self.input(input)?,
                (6, Value::Bytes(output)) => self.output(output)?,
                (7, Value::Bytes(_)) => self.add(SLICE)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `InferInputTensor`.
    fn input(&mut self, wire: &[u8]) -> Result<(), Refused> {
        self.add(TENSOR)?;
        for field in Fields(wire) {
            match field? {
                (1 | 2, Value::Bytes(text)) => self.add(text.len())?,
                (3, Value::Bytes(dims)) => self.add(8 * varints(dims))?,
                (3, Value::Number) => self.add(8)?,
                (4, Value::Bytes(entry)) => self.add(PARAMETER + entry.len())?,
                (5, Value::Bytes(contents)) => self.contents(contents)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `InferRequestedOutputTensor`.
    fn output(&mut self, wire: &[u8]) -> Result<(), Refused> {
        self.add(OUTPUT)?;
        for field in Fields(wire) {
            match field? {
                (1, Value::Bytes(text)) => self.add(text.len())?,
                (2, Value::Bytes(entry)) => self.add(PARAMETER + entry.len())?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `InferTensorContents`: lists that are packed, or not.
    fn contents(&mut self, wire: &[u8]) -> Result<(), Refused> {
        for field in Fields(wire) {
            match field? {
                (1, Value::Bytes(list)) => self.add(varints(list))?,
                (2 | 4, Value::Bytes(list)) => self.add(4 * varints(list))?,
                (3 | 5, Value::Bytes(list)) => self.add(8 * varints(list))?,
                (6 | 7, Value::Bytes(list)) => self.add(list.len())?,
                (8, Value::Bytes(_)) => self.add(SLICE)?,
                (1..=7, Value::Number) => self.add(8)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The number of values of a packed list: each ends with a byte below 128.
fn varints(list: &[u8]) -> usize {
    list.iter().filter(|&&byte| byte < 0x80).count()
}

/// A field's value, as far as its size matters.
enum Value<'w> {
    Number,
    Bytes(&'w [u8]),
}

/// The fields of a message, by number. Groups, which the protocol does not have, are no message.
struct Fields<'w>(&'w [u8]);

impl<'w> Fields<'w> {
    fn varint(&mut self) -> Result<u64, Refused> {
        let mut value = 0;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Refused::Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Refused::Malformed)
    }

    fn bytes(&mut self, count: u64) -> Result<&'w [u8], Refused> {
        let count = usize::try_from(count).map_err(|_| Refused::Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Refused::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Value<'w>), Refused> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => self.varint().map(|_| Value::Number)?,
            1 => self.bytes(8).map(|_| Value::Number)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Value::Number)?,
            _ => return Err(Refused::Malformed),
        };
        Ok((tag >> 3, value))
    }
}

impl<'w> Iterator for Fields<'w> {
    type Item = Result<(u64, Value<'w>), Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
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
        assert_eq!(infer_request(&raw.encode_to_vec()).expect("taken"), SLICE);
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
