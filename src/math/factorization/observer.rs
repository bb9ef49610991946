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
    /// What is being done.
    pub stage: Stage,
    /// Steps done, from 1.
    pub step: usize,
    /// Steps expected in this stage; it may end earlier.
    pub of: usize,
    /// The objective or log-likelihood reached, where there is one.
    pub objective: Option<f64>,
}

/// The stages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// One shared reward.
    Classic,
    /// Trials on the validation split.
    Tune,
    /// The regularised maximum likelihood.
    Fit,
}

/// Nobody listens.
impl Observer for () {
    fn progress(&mut self, _: Progress) {}
}
