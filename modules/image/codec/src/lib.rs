//! Files of pictures to pixels, and pictures to other sizes: what Python's users get from Pillow, to the level.
//!
//! - [`decode`] reads PNG, JPEG and WebP.
//! - [`Picture`] has the samples, and turns them upright or to another number of channels.
//! - [`resize`] is Pillow's `Image.resize`.
//!
//! Everything that comes from outside is bounded: dimensions before anything is decoded, and memory by what the allocator
//! gives. Nothing panics for it.

#![forbid(unsafe_code)]

mod decode;
mod exif;
mod jpeg;
mod memory;
mod picture;
mod png;
mod refusal;
mod resample;
mod webp;

pub use decode::{Decoded, decode};
pub use memory::room;
pub use picture::Picture;
pub use refusal::Refusal;
pub use resample::{Filter, resize};
