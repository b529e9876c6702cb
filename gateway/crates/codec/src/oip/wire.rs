//! The memory that a message of gRPC takes once it is decoded, counted by its wire format before it is: an empty tensor is
//! two bytes of a message and hundreds in memory.

/// Bytes that one byte of a message may be decoded to.
const FACTOR: usize = 2;

/// Bytes that any message may be decoded to.
const FLOOR: usize = 8 << 20;

/// The memory of an element of a list beside its own text, in bytes.
const TENSOR: usize = 384;
const OUTPUT: usize = 128;
const PARAMETER: usize = 160;
const SLICE: usize = 32;

/// Counts the bytes that a `ModelInferRequest` takes once it is decoded, beside the texts of raw contents and values, which
/// stay parts of the message.
///
/// # Errors
/// [`Refused::TooLarge`] from some multiple of the message on.
pub fn infer_request(wire: &[u8]) -> Result<usize, Refused> {
    let most = wire.len().saturating_mul(FACTOR).saturating_add(FLOOR);
    let mut count = Count { taken: 0, most };
    count.request(wire).map(|()| count.taken)
}

/// Why a message is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No message of the wire format, or one with a group.
    Malformed,
    /// A message that takes more than it may once it is decoded.
    TooLarge {
        /// The bytes that it may take.
        most: usize,
    },
}

struct Count {
    taken: usize,
    most: usize,
}

impl Count {
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.most { Err(Refused::TooLarge { most: self.most }) } else { Ok(()) }
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
        for index in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Refused::Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * index);
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
