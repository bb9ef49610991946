use thiserror::Error;

/// Why a computation was refused. Numbers are checked; an index past the end of what it points into, or a
/// matrix whose shape does not fit, is the caller's error and panics.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MathError {
    /// A number is NaN or infinite.
    #[error("{what} is {value}; only finite numbers are allowed")]
    NotFinite {
        /// Which quantity, with its index where there are several.
        what: String,
        /// The value given.
        value: f64,
    },
    /// A number lies outside its range.
    #[error("{what} is {value}; allowed is {allowed}")]
    OutOfRange {
        /// Which quantity.
        what: String,
        /// The value given.
        value: f64,
        /// The range, in words.
        allowed: &'static str,
    },
    /// An index points past the end.
    #[error("{what} is {index}, but there are only {limit}")]
    Index {
        /// Which index.
        what: String,
        /// The index given.
        index: usize,
        /// How many there are.
        limit: usize,
    },
    /// Two lengths that must agree do not.
    #[error("{what} has length {given}, not {expected}")]
    Dimension {
        /// Which quantity.
        what: String,
        /// The length it must have.
        expected: usize,
        /// The length it has.
        given: usize,
    },
    /// A matrix that must be symmetric and positive definite is not.
    #[error("{what} is not symmetric and positive definite")]
    NotPositiveDefinite {
        /// Which matrix.
        what: &'static str,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// There is nothing to learn from.
    #[error("{what} is empty")]
    Empty {
        /// Which input.
        what: &'static str,
    },
}

/// `value` if it is finite, else the error that names it.
pub(super) fn finite(value: f64, what: impl FnOnce() -> String) -> Result<f64, MathError> {
    if value.is_finite() { Ok(value) } else { Err(MathError::NotFinite { what: what(), value }) }
}
