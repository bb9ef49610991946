//! What the methods learn: one file a method, each in the words of its paper, behind [`Model`].

mod classic;
mod descent;
mod factored;
mod lore;
mod pal;
mod paper;
mod per_user;
mod simplex;
#[cfg(test)]
mod tests;
mod vpl;

use nalgebra::DMatrix;

use super::EvaluateError;

pub(super) use classic::Classic;
pub(super) use factored::{Factored, Fit};
pub(super) use lore::Lore;
pub(super) use pal::Pal;
pub(super) use paper::Paper;
pub(super) use per_user::PerUser;
pub(super) use vpl::Vpl;

/// A way of learning people, trained on a population and ready to meet new ones.
pub(super) trait Model: Send + Sync {
    /// What the model sees of texts, from their embeddings h (N × d): a column a text.
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64>;

    /// The person who gave these answers; without any, the average one.
    ///
    /// # Errors
    /// Features that are not finite.
    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError>;

    /// Whether it has a way of choosing questions, [`Learned::worth`]; else they are drawn at random.
    fn chooses(&self) -> bool {
        false
    }
}

/// A person as a model knows them.
pub(super) trait Learned: Send + Sync {
    /// The log-odds that this person prefers the first to the second.
    fn logit(&self, pair: Pair<'_>) -> f64;

    /// What it is worth to ask this person about a pair.
    fn worth(&self, pair: Pair<'_>) -> f64 {
        let _ = pair;
        0.0
    }
}

/// Two texts as the model sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) first: &'a [f64],
    pub(super) second: &'a [f64],
}

/// What a person said of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) pair: Pair<'a>,
    /// a: 1 where the first was preferred, 0 where the second.
    pub(super) preference: f64,
}

impl<'a> Pair<'a> {
    /// Two columns of encoded texts.
    pub(super) fn of(texts: &'a DMatrix<f64>, first: usize, second: usize) -> Self {
        let k = texts.nrows();
        let column = |text: usize| &texts.as_slice()[text * k..][..k];
        Self { first: column(first), second: column(second) }
    }

    /// First less second.
    pub(super) fn difference(self) -> impl Iterator<Item = f64> + 'a {
        self.first.iter().zip(self.second).map(|(a, b)| a - b)
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
