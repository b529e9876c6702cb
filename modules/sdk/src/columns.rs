//! Typed views of one column's values.

use modelgate_columns::Strings;

/// Numbers of which some may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Optional<'a, T> {
    values: &'a [T],
    validity: Option<&'a [u8]>,
}

impl<'a, T: Copy> Optional<'a, T> {
    pub(crate) fn new(values: &'a [T], validity: Option<&'a [u8]>) -> Self {
        Self { values, validity }
    }

    /// The number of values, missing ones included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value at that place; `None` if it is missing or there is no such place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<T> {
        present(self.validity, place).then(|| self.values.get(place).copied()).flatten()
    }

    /// Each in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<T>> + Clone + use<'a, T> {
        let Self { values, validity } = *self;
        values.iter().enumerate().map(move |(place, value)| present(validity, place).then_some(*value))
    }
}

/// Truth values.
#[derive(Clone, Copy, Debug)]
pub struct Bools<'a> {
    values: &'a [u8],
    validity: Option<&'a [u8]>,
}

impl<'a> Bools<'a> {
    pub(crate) fn new(values: &'a [u8], validity: Option<&'a [u8]>) -> Self {
        Self { values, validity }
    }

    /// The number of values, missing ones included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value at that place; false if it is missing or there is no such place.
    #[inline]
    pub fn get(&self, place: usize) -> bool {
        self.optional(place).unwrap_or(false)
    }

    /// The value at that place; `None` if it is missing or there is no such place.
    #[inline]
    pub fn optional(&self, place: usize) -> Option<bool> {
        present(self.validity, place).then(|| self.values.get(place).map(|&value| value != 0)).flatten()
    }

    /// Each in turn, `None` where it is missing.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<bool>> + Clone + use<'a> {
        let view = *self;
        (0..self.len()).map(move |place| view.optional(place))
    }
}

/// Strings, known to be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    offsets: &'a [u32],
    data: &'a str,
    validity: Option<&'a [u8]>,
}

impl<'a> Text<'a> {
    /// Checks all strings at once; fails with the place of the first that is not UTF-8.
    pub(crate) fn new(strings: Strings<'a>, validity: Option<&'a [u8]>) -> Result<Self, usize> {
        let (offsets, bytes) = (strings.offsets(), strings.data());
        if let Ok(data) = std::str::from_utf8(bytes)
            && offsets.iter().all(|&offset| data.is_char_boundary(offset as usize))
        {
            return Ok(Self { offsets, data, validity });
        }
        Err(strings.iter().position(|string| std::str::from_utf8(string).is_err()).unwrap_or_default())
    }

    /// The number of values, missing ones included.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The string at that place; empty if it is missing or there is no such place.
    #[inline]
    pub fn get(&self, place: usize) -> &'a str {
        self.optional(place).unwrap_or_default()
    }

    /// The string at that place; `None` if it is missing or there is no such place.
    #[inline]
    pub fn optional(&self, place: usize) -> Option<&'a str> {
        let start = *self.offsets.get(place)? as usize;
        let end = *self.offsets.get(place.checked_add(1)?)? as usize;
        present(self.validity, place).then(|| self.data.get(start..end)).flatten()
    }

    /// Each in turn, `None` where it is missing.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&'a str>> + Clone + use<'a> {
        let view = *self;
        (0..self.len()).map(move |place| view.optional(place))
    }
}

#[inline]
fn present(validity: Option<&[u8]>, place: usize) -> bool {
    validity.is_none_or(|validity| validity.get(place).is_some_and(|&byte| byte != 0))
}
