//! Who is tested on what: §5 of the paper, for people who were not in training.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::domain::UserId;
use crate::train::{Dataset, Pair, TextId};

/// Smallest number of test comparisons of a person; people with fewer decided judgments are left out.
pub const MIN_TEST: usize = 5;

/// A person of the evaluation: their decided comparisons, one entry a distinct pair, sorted by pair key, so that
/// the order of the file's lines says nothing.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// What they were asked.
    pub pairs: Vec<JudgedPair>,
}

/// One pair as one person judged it. The first response is the one that sorts first.
#[derive(Debug, Clone)]
pub struct JudgedPair {
    /// y₁, a text of the dataset.
    pub first: TextId,
    /// y₂, another.
    pub second: TextId,
    /// a ∈ {0, 1} for each time that this person judged the pair: 1 where the first was preferred.
    pub outcomes: Vec<f64>,
}

/// A person's pairs, cut in two for one seed. Indices into [`Person::pairs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Held out: every judgment of these pairs is a test comparison.
    pub test: Vec<usize>,
    /// What may be asked.
    pub askable: Vec<usize>,
}

impl Person {
    /// Cuts ⌊.4 · decided⌋ comparisons, at least [`MIN_TEST`], off as the test part, by distinct pair; the same
    /// for every method and every number of answers. Nothing where the person decided too few.
    pub fn cut(&self, seed: u64) -> Option<Cut> {
        let decided: usize = self.pairs.iter().map(|pair| pair.outcomes.len()).sum();
        let wanted = (decided * 2 / 5).max(MIN_TEST);
        let mut order: Vec<usize> = (0..self.pairs.len()).collect();
        order.shuffle(&mut random_stream(seed, self.user.as_str(), "cut"));
        let mut held = 0;
        let mut test = Vec::new();
        while held < wanted {
            let pair = order.pop()?;
            held += self.pairs[pair].outcomes.len();
            test.push(pair);
        }
        test.sort_unstable();
        order.sort_unstable();
        Some(Cut { test, askable: order })
    }

    /// The signed margins of the test comparisons under a reward whose difference on a pair is `reward`: positive
    /// where the response that the person preferred gets the higher reward.
    pub fn margins(&self, cut: &Cut, reward: impl Fn(&JudgedPair) -> f64) -> Vec<f64> {
        let mut margins = Vec::new();
        for &pair in &cut.test {
            let pair = &self.pairs[pair];
            let difference = reward(pair);
            margins.extend(pair.outcomes.iter().map(|&a| if a > 0.5 { difference } else { -difference }));
        }
        margins
    }

    /// What the person says when asked about a pair: one of their recorded judgments of it.
    pub fn answer(&self, pair: usize, rng: &mut impl Rng) -> f64 {
        let outcomes = &self.pairs[pair].outcomes;
        outcomes[rng.random_range(0..outcomes.len())]
    }
}

/// The people of a dataset with their decided comparisons. Ties are used in training, not asked or tested.
pub fn people(dataset: &Dataset) -> Vec<Person> {
    let mut people: Vec<Person> =
        dataset.users().iter().map(|user| Person { user: user.clone(), pairs: Vec::new() }).collect();
    // Rows are sorted by (user, pair, outcome): a person's judgments of a pair stand together.
    let mut last = None;
    for row in dataset.rows().iter().filter(|row| row.is_decided()) {
        let outcome = if row.preference > 0.5 { 1.0 } else { 0.0 };
        let pairs = &mut people[row.user].pairs;
        match pairs.last_mut() {
            Some(pair) if last == Some((row.user, row.pair)) => pair.outcomes.push(outcome),
            _ => {
                let Pair { first, second, .. } = dataset.pairs()[row.pair];
                pairs.push(JudgedPair { first, second, outcomes: vec![outcome] });
            }
        }
        last = Some((row.user, row.pair));
    }
    people
}

/// The random stream of one purpose for one person and seed: independent of who else is in the file.
pub(super) fn random_stream(seed: u64, user: &str, purpose: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(user.as_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Comparison, Judgment};

    fn judgment(prompt: &str, a: &str, b: &str, preference: f64) -> Judgment {
        Judgment {
            user_id: UserId::parse("u").unwrap(),
            comparison: Comparison::parse(prompt, a, b).unwrap(),
            preference,
            group: String::new(),
        }
    }

    /// The one person of these lines.
    fn person(lines: &[Judgment]) -> Person {
        people(&Dataset::from_judgments(lines)).remove(0)
    }

    #[test]
    fn which_answer_was_called_a_does_not_matter() {
        for lines in [judgment("x", "a", "bbb", 1.0), judgment("x", "bbb", "a", 0.0)] {
            let pair = &person(&[lines]).pairs[0];
            assert_eq!((pair.first, pair.second, &pair.outcomes[..]), (0, 1, &[1.0][..]));
        }
    }

    #[test]
    fn ties_are_neither_asked_nor_tested() {
        assert_eq!(person(&[judgment("x", "a", "bb", 0.5), judgment("y", "a", "bb", 1.0)]).pairs.len(), 1);
    }

    #[test]
    fn a_cut_keeps_the_judgments_of_a_pair_together_and_is_the_same_for_a_seed() {
        let lines: Vec<_> =
            (0..20).flat_map(|i| vec![judgment(&format!("x{i}"), "a", "bb", f64::from(i % 2)); 2]).collect();
        let person = person(&lines);
        let cut = person.cut(7).unwrap();
        assert_eq!(cut.test.len(), 8, "⌊.4 · 40⌋ comparisons are 8 pairs judged twice");
        assert_eq!(cut.askable.len(), 12);
        assert!(cut.test.iter().all(|pair| !cut.askable.contains(pair)));
        assert_eq!(Some(cut.clone()), person.cut(7));
        assert_ne!(Some(cut.clone()), person.cut(8));
        let margins = person.margins(&cut, |pair| pair.first as f64 - pair.second as f64);
        assert_eq!(margins.len(), 16, "all pairs differ by one");
        assert!(margins.iter().any(|&m| m > 0.0) && margins.iter().any(|&m| m < 0.0));
    }

    #[test]
    fn a_person_with_fewer_than_five_decided_comparisons_is_left_out() {
        let lines: Vec<_> = (0..4).map(|i| judgment(&format!("x{i}"), "a", "bb", 1.0)).collect();
        assert_eq!(person(&lines).cut(0), None);
    }
}
