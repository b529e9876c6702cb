//! Fixed bytes where `tokenizers` and its hash tables ask for random ones: a module has no randomness.
//!
//! Hash tables have the same keys everywhere. The only one that grows with callers' texts is a cache of bounded size.

/// Repeated over what is to be filled.
const BYTES: [u8; 8] = 0x9e37_79b9_7f4a_7c15_u64.to_le_bytes();

/// Called by the crate `getrandom`, whose backend is set in `modules/.cargo/config.toml`.
///
/// # Safety
/// `dest` is valid for writes of `len` bytes, as `getrandom` promises.
#[expect(unsafe_code, reason = "the crate `getrandom` finds its backend by this symbol, and hands it raw memory")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    for (place, byte) in (0..len).zip(BYTES.into_iter().cycle()) {
        // SAFETY: `place` is below `len`.
        unsafe { dest.add(place).write(byte) };
    }
    Ok(())
}
