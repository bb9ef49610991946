use std::collections::HashMap;

use super::super::MathError;
use super::super::error::finite;
use super::{Comparisons, Observation};

/// The judgments as a sparse matrix of users × pairs.
///
/// A pair is two texts without regard to order, kept as (smaller, larger) index; the outcome is turned to match. All
/// of a user's judgments of a pair are one cell: bce(σ(z), a) is linear in a, so Σ w bce(σ(z), a) over repeats equals
/// (Σ w) bce(σ(z), Σ w a / Σ w), and nothing is lost.
#[derive(Debug)]
pub(super) struct Cells {
    /// (first, second) texts of every pair, sorted.
    pub(super) pairs: Vec<(usize, usize)>,
    /// Sorted by user, then pair.
    pub(super) cells: Vec<Cell>,
    /// Where each user's cells begin, and one end.
    pub(super) user_starts: Vec<usize>,
}

/// What one user said about one pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) pair: usize,
    /// Σ w of decided judgments.
    decided: f64,
    /// Σ w a of decided judgments.
    preferred: f64,
    /// Σ w of ties.
    tied: f64,
}

/// A cell with ties at a certain weight: what the likelihood sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    pub(super) pair: usize,
    /// a, averaged.
    pub(super) preference: f64,
    /// w, summed.
    pub(super) weight: f64,
}

impl Cells {
    /// # Errors
    /// Indices out of range, preferences outside \[0, 1\], weights negative or not finite, each by its line.
    pub(super) fn new(observations: &[Observation], texts: usize, users: usize) -> Result<Self, MathError> {
        let mut sums: HashMap<(usize, usize, usize), [f64; 3]> = HashMap::with_capacity(observations.len());
        for (line, o) in observations.iter().enumerate() {
            for (name, index, limit) in
                [("user", o.user, users), ("first text", o.first, texts), ("second text", o.second, texts)]
            {
                if index >= limit {
                    let what = format!("the {name} of observation {line}");
                    return Err(MathError::Index { what, index, limit });
                }
            }
            if !(0.0..=1.0).contains(&o.preference) {
                let what = format!("the preference of observation {line}");
                return Err(MathError::OutOfRange { what, value: o.preference, allowed: "[0, 1]" });
            }
            if !(0.0..f64::INFINITY).contains(&o.weight) {
                let what = format!("the weight of observation {line}");
                return Err(MathError::OutOfRange { what, value: o.weight, allowed: "[0, ∞)" });
            }
            if o.first == o.second || o.weight == 0.0 {
                continue;
            }
            let a = if o.first < o.second { o.preference } else { 1.0 - o.preference };
            let [decided, preferred, tied] =
                sums.entry((o.user, o.first.min(o.second), o.first.max(o.second))).or_default();
            if a == 0.5 {
                *tied += o.weight;
            } else {
                *decided += o.weight;
                *preferred += o.weight * a;
            }
        }
        let mut rows: Vec<_> = sums.into_iter().collect();
        rows.sort_unstable_by_key(|&(key, _)| key);
        let mut pairs: Vec<(usize, usize)> =
            rows.iter().map(|&((_, first, second), _)| (first, second)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let index: HashMap<(usize, usize), usize> =
            pairs.iter().enumerate().map(|(p, &pair)| (pair, p)).collect();
        let mut user_starts = vec![0; users + 1];
        let cells = rows
            .into_iter()
            .map(|((user, first, second), [decided, preferred, tied])| {
                user_starts[user + 1] += 1;
                Cell { pair: index[&(first, second)], decided, preferred, tied }
            })
            .collect();
        for user in 0..users {
            user_starts[user + 1] += user_starts[user];
        }
        Ok(Self { pairs, cells, user_starts })
    }

    pub(super) fn users(&self) -> usize {
        self.user_starts.len() - 1
    }

    pub(super) fn has_ties(&self) -> bool {
        self.cells.iter().any(|cell| cell.tied > 0.0)
    }

    pub(super) fn has_decided(&self) -> bool {
        self.cells.iter().any(|cell| cell.decided > 0.0)
    }

    /// The cells with ties counting `tie_weight` each, in the same order. A cell of nothing but ties at weight 0 stays,
    /// with weight 0.
    pub(super) fn outcomes(&self, tie_weight: f64) -> Vec<Outcome> {
        let outcome = |cell: &Cell| {
            let weight = cell.decided + tie_weight * cell.tied;
            let preferred = cell.preferred + 0.5 * tie_weight * cell.tied;
            Outcome {
                pair: cell.pair,
                preference: if weight > 0.0 { preferred / weight } else { 0.5 },
                weight,
            }
        };
        self.cells.iter().map(outcome).collect()
    }

    /// The share of pairs that at least two users judged.
    pub(super) fn overlap(&self) -> f64 {
        let mut raters = vec![0_usize; self.pairs.len()];
        self.cells.iter().for_each(|cell| raters[cell.pair] += 1);
        raters.iter().filter(|&&n| n > 1).count() as f64 / raters.len().max(1) as f64
    }
}

/// Cells in the order of their pairs.
#[derive(Debug)]
pub(super) struct ByPair {
    /// (cell, user), sorted by pair.
    entries: Vec<(usize, usize)>,
    starts: Vec<usize>,
}

impl ByPair {
    /// From outcomes sorted by user.
    pub(super) fn new(outcomes: &[Outcome], user_starts: &[usize], pairs: usize) -> Self {
        let mut starts = vec![0; pairs + 1];
        outcomes.iter().for_each(|o| starts[o.pair + 1] += 1);
        for p in 0..pairs {
            starts[p + 1] += starts[p];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0); outcomes.len()];
        for user in 0..user_starts.len() - 1 {
            for cell in user_starts[user]..user_starts[user + 1] {
                let at = &mut next[outcomes[cell].pair];
                entries[*at] = (cell, user);
                *at += 1;
            }
        }
        Self { entries, starts }
    }

    /// Number of pairs.
    pub(super) fn pairs(&self) -> usize {
        self.starts.len() - 1
    }

    /// (cell, user) of every judgment of a pair.
    pub(super) fn of(&self, pair: usize) -> &[(usize, usize)] {
        &self.entries[self.starts[pair]..self.starts[pair + 1]]
    }
}

impl Comparisons<'_> {
    pub(super) fn check(&self) -> Result<(), MathError> {
        let texts = self.embeddings.nrows();
        if self.users == 0 {
            return Err(MathError::Empty { what: "the list of users" });
        }
        if self.embeddings.ncols() == 0 {
            return Err(MathError::Empty { what: "what the embeddings hold" });
        }
        for (k, column) in self.embeddings.column_iter().enumerate() {
            for (t, &value) in column.iter().enumerate() {
                finite(value, || format!("embedding[{t}, {k}]"))?;
            }
        }
        if let Some(style) = self.style {
            if style.len() != texts {
                let what = "the style measure".to_owned();
                return Err(MathError::Dimension { what, expected: texts, given: style.len() });
            }
            for (t, &value) in style.iter().enumerate() {
                finite(value, || format!("style measure[{t}]"))?;
            }
        }
        Ok(())
    }
}
