//! The type of a model's classes.

/// The type of the classes that a model's file names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassKind {
    /// Texts.
    #[default]
    Text,
    /// Whole numbers.
    Integer,
    /// Other numbers.
    Number,
    /// No and yes, named `false` and `true`.
    Flag,
}
