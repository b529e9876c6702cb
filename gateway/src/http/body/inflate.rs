//! Decompression of a body, bounded in size, memory, processor time and by the request's deadline.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    time::{Duration, Instant},
};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use rustix::time::{ClockId, clock_gettime};

use super::{Coding, Received};
use crate::{
    chunked_bytes::ChunkedBytes,
    error::Error,
    memory::{Claim, Permit},
};

/// Times its own size to which a compressed body may inflate.
const MAX_RATIO: usize = 100;

/// Bytes to which every compressed body may inflate.
const FREE: usize = 1 << 20;

/// Bytes inflated between two looks at the size limits.
const INFLATE_STEP: usize = 256 << 10;

/// Compressed bytes that are read between two looks at the clocks.
const READ_STEP: usize = 4 << 10;

/// Compressed bytes in a row that must give something: each [`LEAST_SHARE`] of them at least one byte. Headers, empty
/// blocks and empty members give nothing, and a client that flushes after each byte sends about eight for it.
const BARREN: usize = 64 << 10;
const LEAST_SHARE: usize = 64;

/// Processor time that every body may take, and the bytes, sent and inflated, that earn it a second more. A decoder does
/// ten times as many even where it is built without optimisation.
const FREE_TIME: Duration = Duration::from_millis(500);
const BYTES_PER_SECOND: usize = 8 << 20;

/// Inflates a body as far as its limits, the permit and the deadline allow.
///
/// # Errors
/// A body that is not of that coding, one that exceeds a limit, and [`Error::Deadline`].
pub(crate) fn inflate(
    bytes: &[u8],
    coding: Coding,
    limit: usize,
    deadline: Instant,
    mut permit: Permit,
) -> Result<Received, Error> {
    let made = Cell::new(0);
    let input = Watched::new(bytes, &made, deadline);
    let mut decoder: Box<dyn Read + '_> = match coding {
        Coding::Identity => Box::new(bytes),
        Coding::Gzip => Box::new(MultiGzDecoder::new(input)),
        // "deflate" is a zlib stream by the standard; some clients send it bare.
        Coding::Deflate if is_zlib(bytes) => Box::new(ZlibDecoder::new(input)),
        Coding::Deflate => Box::new(DeflateDecoder::new(input)),
    };
    let most = bytes.len().saturating_mul(MAX_RATIO).max(FREE);
    let mut body = ChunkedBytes::default();
    loop {
        let mut piece = Vec::new();
        let mut counted = Counted { inner: decoder.as_mut(), made: &made };
        counted.by_ref().take(INFLATE_STEP as u64).read_to_end(&mut piece).map_err(|error| refusal(&error))?;
        if piece.is_empty() {
            break;
        }
        let len = body.len() + piece.len();
        if len > limit {
            return Err(Error::BodyTooLarge(limit));
        }
        if len > most {
            return Err(Error::TooLarge(format!("the body inflates to more than {MAX_RATIO} times what was sent")));
        }
        permit.cover(bytes.len().saturating_add(len), Claim::Whole)?;
        body.push(piece.into());
    }
    body.seal();
    permit.settle(body.len())?;
    Ok(Received { body, permit })
}

/// Why reading stopped before the body's end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("the deadline passed")]
    Deadline,
    #[error("{BARREN} bytes of it in a row inflate to next to nothing")]
    Barren,
    #[error("it takes more processor time than bodies of its size do")]
    Slow,
}

fn refusal(error: &io::Error) -> Error {
    if let Some(Stop::Deadline) = error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
        // The caller has been answered already.
        return Error::Deadline(0);
    }
    Error::BadRequest(format!("the body cannot be decompressed: {error}"))
}

/// Counts the bytes that a decoder gives.
struct Counted<'a> {
    inner: &'a mut (dyn Read + 'a),
    made: &'a Cell<usize>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.made.set(self.made.get() + read);
        Ok(read)
    }
}

/// Compressed bytes, handed out in steps. A decoder asks for the next step also where it has nothing to give, so each step
/// looks at the deadline, the time taken, and how much the steps before it gave.
struct Watched<'a> {
    left: &'a [u8],
    /// Bytes left of the present step.
    step: usize,
    read: usize,
    made: &'a Cell<usize>,
    /// Bytes read and made where the present stretch of [`BARREN`] bytes began.
    stretch: (usize, usize),
    deadline: Instant,
    start: Duration,
}

impl<'a> Watched<'a> {
    fn new(bytes: &'a [u8], made: &'a Cell<usize>, deadline: Instant) -> Self {
        Self { left: bytes, step: READ_STEP, read: 0, made, stretch: (0, 0), deadline, start: processor_time() }
    }

    fn check(&mut self) -> Result<(), Stop> {
        let made = self.made.get();
        if self.read - self.stretch.0 >= BARREN {
            if made - self.stretch.1 < BARREN / LEAST_SHARE {
                return Err(Stop::Barren);
            }
            self.stretch = (self.read, made);
        }
        let earned = (self.read + made) as u128 * 1_000_000_000 / BYTES_PER_SECOND as u128;
        let took = processor_time().saturating_sub(self.start);
        if took.saturating_sub(FREE_TIME).as_nanos() > earned {
            return Err(Stop::Slow);
        }
        if Instant::now() >= self.deadline { Err(Stop::Deadline) } else { Ok(()) }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(into.len());
        into[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.step == 0 {
            self.check().map_err(io::Error::other)?;
            self.step = READ_STEP;
        }
        Ok(&self.left[..self.step.min(self.left.len())])
    }

    fn consume(&mut self, bytes: usize) {
        self.left = &self.left[bytes..];
        self.step -= bytes;
        self.read += bytes;
    }
}

/// Processor time of this thread, which does not pass while others run.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A zlib stream begins with a deflate method and a checksum over its two first bytes (RFC 1950).
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;
    use crate::memory::Account;

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn inflated(bytes: &[u8], coding: Coding, limit: usize) -> Result<ChunkedBytes, Error> {
        let permit = Permit::new(&Account::new(64 << 20));
        inflate(bytes, coding, limit, soon(), permit).map(|received| received.body)
    }

    #[test]
    fn every_coding_is_inflated_and_bounded() {
        let body = vec![b'a'; 10_000];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut bare] {
            encoder.write_all(&body).expect("into memory");
        }
        for (bytes, coding) in [
            (gzip.finish().expect("gzip"), Coding::Gzip),
            (zlib.finish().expect("zlib"), Coding::Deflate),
            (bare.finish().expect("bare"), Coding::Deflate),
        ] {
            assert_eq!(inflated(&bytes, coding, 10_000).expect("fits").joined(), body);
            assert!(matches!(inflated(&bytes, coding, 9_999), Err(Error::BodyTooLarge(9_999))));
            assert!(matches!(inflated(&bytes[..bytes.len() / 2], coding, 10_000), Err(Error::BadRequest(_))));
        }
    }

    #[test]
    fn a_body_inflates_to_a_hundred_times_its_size_and_as_far_as_the_permit_goes() {
        let gzip = |mib: usize| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&vec![0; mib << 20]).expect("into memory");
            gzip.finish().expect("whole")
        };
        assert_eq!(inflated(&gzip(1), Coding::Gzip, 64 << 20).expect("free").len(), 1 << 20);
        assert!(matches!(inflated(&gzip(2), Coding::Gzip, 64 << 20), Err(Error::TooLarge(_))));
        // One gzip member after another.
        assert!(matches!(inflated(&gzip(1).repeat(8), Coding::Gzip, 64 << 20), Err(Error::TooLarge(_))));
        let account = Account::new(1 << 20);
        let refused = inflate(&gzip(1), Coding::Gzip, 64 << 20, soon(), Permit::new(&account));
        assert!(matches!(refused, Err(Error::TooLarge(_))), "over what the account ever has for one");
        assert_eq!(account.used(), 0);
    }

    /// So many bytes of zlib in blocks without content.
    fn empty_blocks(bytes: usize) -> Vec<u8> {
        // Four blocks of 10 bits: not the last, fixed codes, the end.
        [b"\x78\x9c".as_slice(), &b"\x02\x08\x20\x80\x00".repeat(bytes / 5)].concat()
    }

    fn empty_members(bytes: usize) -> Vec<u8> {
        let member = GzEncoder::new(Vec::new(), Compression::best()).finish().expect("empty");
        member.repeat(bytes / member.len())
    }

    #[test]
    fn bytes_that_inflate_to_nothing_cost_little() {
        let start = processor_time();
        for (bytes, coding) in [(empty_blocks(64 << 20), Coding::Deflate), (empty_members(64 << 20), Coding::Gzip)] {
            let refused = inflated(&bytes, coding, 64 << 20);
            assert!(matches!(&refused, Err(Error::BadRequest(why)) if why.contains("next to nothing")), "{refused:?}");
        }
        let took = processor_time().saturating_sub(start);
        assert!(took < Duration::from_secs(3), "{took:?}; 64 MiB of each took minutes");
    }

    /// Enough is made of each stretch, and yet most of it are empty blocks.
    #[test]
    fn what_takes_long_for_its_size_is_refused() {
        // Empty blocks, then a stored one of 2 KiB.
        let mut stretch = b"\x02\x08\x20\x80\x00".repeat(6 << 10);
        let mut stored = vec![0, 0, 8, 0xff, 0xf7];
        stored.extend([b'a'; 2 << 10]);
        stretch.extend(stored);
        let bytes = [b"\x78\x9c".as_slice(), &stretch.repeat(1 << 10)].concat();
        let start = processor_time();
        let refused = inflated(&bytes, Coding::Deflate, 64 << 20);
        assert!(matches!(&refused, Err(Error::BadRequest(why)) if why.contains("processor time")), "{refused:?}");
        assert!(processor_time().saturating_sub(start) < Duration::from_secs(10));
    }

    #[test]
    fn the_deadline_ends_the_work() {
        let permit = Permit::new(&Account::new(64 << 20));
        let late = inflate(&empty_blocks(1 << 20), Coding::Deflate, 64 << 20, Instant::now(), permit);
        assert!(matches!(late, Err(Error::Deadline(_))), "{late:?}");
    }

    #[test]
    fn a_stream_flushed_after_each_byte_is_taken() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        for byte in 0..20_000_u32 {
            gzip.write_all(&[byte as u8]).expect("into memory");
            gzip.flush().expect("into memory");
        }
        let sent = gzip.finish().expect("whole");
        assert_eq!(inflated(&sent, Coding::Gzip, 64 << 20).expect("taken").len(), 20_000);
    }
}
