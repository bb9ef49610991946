use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::train::{Dataset, TextId};

/// A pair of texts and all that was said of it in training.
pub(super) struct Judged {
    pub(super) first: TextId,
    pub(super) second: TextId,
    pub(super) judgments: Vec<Said>,
}

/// What a user said of a pair.
pub(super) struct Said {
    pub(super) user: usize,
    /// a ∈ [0, 1]
    pub(super) preference: f64,
    /// w, that of ties included.
    pub(super) weight: f64,
}

/// The pairs of some rows, in the dataset's order.
pub(super) fn judged(data: &Dataset, rows: &[usize], tie_weight: f64) -> Vec<Judged> {
    let mut rows: Vec<_> = rows.iter().map(|&row| data.rows()[row]).collect();
    rows.sort_by_key(|row| (row.pair, row.user));
    let pairs = rows.chunk_by(|a, b| a.pair == b.pair).map(|of_pair| {
        let pair = data.pairs()[of_pair[0].pair];
        let said = of_pair.iter().map(|row| Said {
            user: row.user,
            preference: row.preference,
            weight: row.weight * if row.is_decided() { 1.0 } else { tie_weight },
        });
        Judged { first: pair.first, second: pair.second, judgments: said.collect() }
    });
    pairs.collect()
}

/// The steps of an epoch: which of `pairs` pairs each sees. It is drawn by seed and epoch alone, so that a training
/// goes on from any step as it would have.
pub(super) fn epoch(pairs: usize, batch: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pairs).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64);
    order.shuffle(&mut rng);
    let batches = order.chunks(batch).map(|batch| {
        // In the dataset's order, in which texts of one prompt stand together.
        let mut batch = batch.to_vec();
        batch.sort_unstable();
        batch
    });
    batches.collect()
}

/// One forward and backward pass: some pairs of a batch and the distinct texts in them.
pub(super) struct Pass<'a> {
    pub(super) pairs: Vec<&'a Judged>,
    pub(super) texts: Vec<TextId>,
}

/// A batch in passes whose texts have at most `tokens` tokens, or that are of a single pair.
pub(super) fn passes<'a>(
    batch: impl IntoIterator<Item = &'a Judged>,
    tokens: usize,
    length: impl Fn(TextId) -> usize,
) -> Vec<Pass<'a>> {
    let mut passes = Vec::new();
    let (mut pairs, mut texts, mut sum) = (Vec::new(), BTreeSet::new(), 0);
    for pair in batch {
        let new = [pair.first, pair.second].into_iter().filter(|text| !texts.contains(text));
        let added: usize = new.map(&length).sum();
        if sum + added > tokens && !pairs.is_empty() {
            passes.push(Pass {
                pairs: std::mem::take(&mut pairs),
                texts: std::mem::take(&mut texts).into_iter().collect(),
            });
            sum = length(pair.first) + length(pair.second);
        } else {
            sum += added;
        }
        texts.extend([pair.first, pair.second]);
        pairs.push(pair);
    }
    if !pairs.is_empty() {
        passes.push(Pass { pairs, texts: texts.into_iter().collect() });
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_pair_once_and_epochs_differ() {
        let first = epoch(10, 4, 7, 0);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut seen = first.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!(first, epoch(10, 4, 7, 0));
        assert_ne!(first, epoch(10, 4, 7, 1));
        assert_ne!(first, epoch(10, 4, 8, 0));
    }

    #[test]
    fn passes_count_a_text_once_and_keep_to_the_budget_unless_a_pair_is_beyond_it() {
        let pair = |first, second| Judged { first, second, judgments: Vec::new() };
        let pairs = [pair(0, 1), pair(0, 2), pair(1, 2), pair(3, 4), pair(5, 6)];
        let lengths = [10, 10, 10, 40, 40, 5, 5];
        let passes = passes(&pairs, 30, |text| lengths[text]);
        let texts: Vec<_> = passes.iter().map(|pass| pass.texts.as_slice()).collect();
        assert_eq!(texts, [&[0, 1, 2][..], &[3, 4], &[5, 6]]);
        assert_eq!(passes.iter().map(|pass| pass.pairs.len()).collect::<Vec<_>>(), [3, 1, 1]);
    }
}
