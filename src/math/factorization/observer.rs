/// Hears how far a factorization is.
pub trait Observer {
    /// A step was made.
    fn progress(&mut self, progress: Progress);

    /// Asked after every step: whether to stop with [`MathError::Cancelled`](crate::math::MathError::Cancelled).
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done: trials where hyperparameters are chosen, rounds of a fit.
    pub step: usize,
    /// Steps expected; it may end earlier.
    pub of: usize,
    /// The objective or log-likelihood reached, where there is one.
    pub objective: Option<f64>,
}

/// Nobody listens.
impl Observer for () {
    fn progress(&mut self, _: Progress) {}
}
