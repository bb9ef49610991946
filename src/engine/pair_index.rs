use crate::domain::{Candidates, PairKey};

/// Where each pair of a pool is, so that what a user has seen is masked without looking at the rest.
///
/// A pair takes 24 bytes: the beginning of its key, and its place. Whether the whole key is meant is found in the texts, which
/// are in memory anyhow.
pub(super) struct PairIndex {
    /// In the order of their keys.
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    key: u64,
    prompt: u32,
    one: u32,
    other: u32,
}

impl PairIndex {
    /// Takes a hash a pair: not for a thread that others wait for.
    pub(super) fn new(prompts: &[Candidates]) -> Self {
        let mut places = Vec::with_capacity(prompts.iter().map(pairs_of).sum());
        for (prompt, Candidates { prompt: text, responses }) in (0..).zip(prompts) {
            for (one, a) in (0..).zip(responses) {
                for (other, b) in (0..).zip(responses).skip(one as usize + 1) {
                    places.push(Place { key: beginning(&PairKey::new(text, a, b)), prompt, one, other });
                }
            }
        }
        places.sort_unstable_by_key(|place| place.key);
        Self { places }
    }

    /// Prompt and the two responses of a pair, if it is one of `prompts`, which the index was made of.
    pub(super) fn find(&self, key: &PairKey, prompts: &[Candidates]) -> Option<(usize, usize, usize)> {
        let begins_so = beginning(key);
        let from = self.places.partition_point(|place| place.key < begins_so);
        let alike = self.places[from..].iter().take_while(|place| place.key == begins_so);
        alike.map(|place| (place.prompt as usize, place.one as usize, place.other as usize)).find(
            |&(prompt, one, other)| {
                let Candidates { prompt, responses } = &prompts[prompt];
                PairKey::new(prompt, &responses[one], &responses[other]) == *key
            },
        )
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    /// Pairs.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

fn pairs_of(candidates: &Candidates) -> usize {
    candidates.responses.len() * candidates.responses.len().saturating_sub(1) / 2
}

fn beginning(key: &PairKey) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = key.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_found_in_either_order_and_nothing_else() {
        let candidates = |prompt: &str, responses: &[&str]| Candidates {
            prompt: prompt.to_owned(),
            responses: responses.iter().map(|words| (*words).to_owned()).collect(),
        };
        let prompts =
            [candidates("x", &["a", "b", "c"]), candidates("y", &["a"]), candidates("z", &["a", "b"])];
        let index = PairIndex::new(&prompts);
        assert_eq!(index.len(), 4);
        assert_eq!(index.find(&PairKey::new("x", "c", "b"), &prompts), Some((0, 1, 2)));
        assert_eq!(index.find(&PairKey::new("z", "a", "b"), &prompts), Some((2, 0, 1)));
        assert_eq!(index.find(&PairKey::new("y", "a", "b"), &prompts), None);
        // A key that begins as one of a pair's and goes on otherwise.
        let mut other = PairKey::new("x", "a", "b");
        other.0[31] ^= 1;
        assert_eq!(index.find(&other, &prompts), None);
    }
}
