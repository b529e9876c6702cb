//! Files of pictures, as `builtin:image` decodes them in the sandbox.

use image_codec::{Filter, decode, resize};

/// Pixels of a picture: few, so that a fuzzer does not spend its time on zeros.
const PIXELS: u64 = 1 << 16;

/// A file has as many samples as it says, and can be resized.
pub fn image(file: &[u8]) {
    let Ok(decoded) = decode(file, PIXELS) else { return };
    let picture = decoded.picture.upright(decoded.orientation).expect("memory for few pixels");
    assert!((picture.width * picture.height) as u64 <= PIXELS, "{} x {}", picture.width, picture.height);
    assert!(matches!(picture.channels, 1 | 3), "{} channels", picture.channels);
    assert_eq!(picture.samples.len(), picture.width * picture.height * picture.channels);
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Lanczos] {
        let resized = resize(picture.clone(), 7, 5, filter).expect("memory for few pixels");
        assert_eq!((resized.width, resized.height, resized.samples.len()), (7, 5, 35 * picture.channels));
    }
}
