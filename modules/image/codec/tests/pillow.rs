//! Pixels against Pillow's, which `gateway/tests/data/make_images.py` took down.

use base64::{Engine, prelude::BASE64_STANDARD};
use image_codec::{Filter, Picture, Refusal, decode, resize};
use serde::Deserialize;

const REFERENCE: &str = include_str!("../../../../gateway/tests/data/images/reference.json");

#[derive(Deserialize)]
struct Reference {
    files: Vec<File>,
    resized: Vec<Resized>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    #[serde(rename = "file")]
    base64: String,
    shape: [usize; 3],
    crc32: u32,
}

#[derive(Deserialize)]
struct Resized {
    width: usize,
    height: usize,
    filter: String,
    crc32: u32,
}

fn reference() -> Reference {
    serde_json::from_str(REFERENCE).expect("as it was written")
}

fn files() -> impl Iterator<Item = (File, Vec<u8>)> {
    reference().files.into_iter().map(|file| {
        let bytes = BASE64_STANDARD.decode(&file.base64).expect("as it was written");
        (file, bytes)
    })
}

fn pixels(file: &[u8]) -> Result<Picture, Refusal> {
    decode(file, 1 << 20)?.picture.into_rgb()
}

#[test]
fn every_kind_of_file_has_pillows_pixels() {
    for (file, bytes) in files() {
        let picture = pixels(&bytes).unwrap_or_else(|refusal| panic!("{}: {refusal}", file.name));
        assert_eq!([picture.height, picture.width, picture.channels], file.shape, "{}", file.name);
        assert_eq!(crc32fast::hash(&picture.samples), file.crc32, "{}", file.name);
    }
}

#[test]
fn every_filter_has_pillows_pixels() {
    let reference = reference();
    let sample = reference.files.iter().find(|file| file.name == "37x29.png").expect("as it was written");
    let sample =
        pixels(&BASE64_STANDARD.decode(&sample.base64).expect("as it was written")).expect("as it was written");
    for case in reference.resized {
        let filter = match case.filter.as_str() {
            "nearest" => Filter::Nearest,
            "box" => Filter::Box,
            "bilinear" => Filter::Bilinear,
            "bicubic" => Filter::Bicubic,
            _ => Filter::Lanczos,
        };
        let resized = resize(sample.clone(), case.width, case.height, filter).expect("as it was written");
        let told = format!("{} {} x {}", case.filter, case.width, case.height);
        assert_eq!(crc32fast::hash(&resized.samples), case.crc32, "{told}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    // The first picture of an animation may be whole where the second is not.
    for (file, bytes) in files().filter(|(file, _)| file.name != "animation.webp") {
        // The last bytes of a file hold no pixels.
        let tail = if file.name.contains(".jpg") { 2 } else { 13 };
        for length in (0..bytes.len().saturating_sub(tail)).step_by(29) {
            assert!(pixels(&bytes[..length]).is_err(), "{} of {length} bytes", file.name);
        }
    }
}

#[test]
fn a_damaged_file_is_no_panic() {
    // A small generator is enough to damage files in the same places each time.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for (_, bytes) in files() {
        for _ in 0..20 {
            let mut damaged = bytes.clone();
            for _ in 0..=next() % 4 {
                let place = next() % damaged.len();
                damaged[place] = next() as u8;
            }
            _ = pixels(&damaged);
        }
    }
}

#[test]
fn large_dimensions_are_refused_before_anything_is_decoded() {
    let too_many = |file: &[u8]| matches!(decode(file, 1000), Err(Refusal::TooManyPixels { limit: 1000, .. }));
    for (file, bytes) in files().filter(|(file, _)| file.shape[0] * file.shape[1] > 1000) {
        assert!(too_many(&bytes), "{}", file.name);
    }
    let (_, mut jpeg) = files().find(|(file, _)| file.name == "gray.jpg").expect("as it was written");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("as it was written");
    jpeg[frame + 5..frame + 9].fill(0xff);
    assert_eq!(
        decode(&jpeg, 1 << 20).err(),
        Some(Refusal::TooManyPixels { width: 65_535, height: 65_535, limit: 1 << 20 })
    );
}

#[test]
fn anything_else_is_refused() {
    for other in [&b""[..], b"GIF89a", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\x04\0\0\0WEBP", b"<svg/>"] {
        assert!(pixels(other).is_err(), "{other:?}");
    }
    assert_eq!(pixels(b"BM").err(), Some(Refusal::Unknown));
}
