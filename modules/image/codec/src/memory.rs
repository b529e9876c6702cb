//! Memory for pixels, which may be refused.

use crate::Refusal;

/// So many zeros.
pub(crate) fn zeros<T: Copy + Default>(count: usize) -> Result<Vec<T>, Refusal> {
    let mut values = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    values.try_reserve_exact(count).map_err(|_| Refusal::NoMemory { bytes })?;
    values.resize(count, T::default());
    Ok(values)
}

/// Fails unless so many bytes are free: for code that would end the module where they are not.
///
/// # Errors
/// [`Refusal::NoMemory`].
pub fn room(bytes: usize) -> Result<(), Refusal> {
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| Refusal::NoMemory { bytes })
}
