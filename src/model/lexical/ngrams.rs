use super::lexicon::Lexicon;
use super::scan::{Scan, fnv, mix};

/// Length of the three blocks together.
pub(super) const DIMENSION: usize = SKELETON + WORDS + CHARACTERS;

/// What the hash of the backbone records.
pub(super) const DESCRIPTION: &str =
    "skeleton 1-3 x 768, words 1-2 x 512 a sentence, characters 3-4 x 768, signed, 1 + ln tf, norm 4, 2, 4";

const SKELETON: usize = 768;
const WORDS: usize = 512;
const CHARACTERS: usize = 768;

/// The length of each block's vector for an ordinary answer. Style measures have about √70 = 8.
const NORMS: [f64; 3] = [4.0, 2.0, 4.0];
/// How long the vector of an ordinary answer is before it is scaled.
const ORDINARY: [f64; 3] = [14.0, 1.7, 27.0];

/// Stands in the skeleton for every word that is not a common one.
const PLACEHOLDER: u64 = 1;
/// Stands before the first word of a sentence.
const START: u64 = 2;

/// Appends the n-gram blocks of `response`: signed hashing (Weinberger et al. 2009), 1 + ln tf.
///
/// Blocks are not scaled to unit length: how often a style shows is what people judge, and in a longer answer one
/// remark would count less. Words count by the sentence, for what they tell is what an answer is full of. A block's
/// length grows with the answer's and saturates at three times its norm; without n-grams it is zero.
pub(super) fn extend(vector: &mut Vec<f32>, response: &Scan, lexicon: &Lexicon) {
    let mut grams = Vec::with_capacity(3 * response.words.len());
    let skeleton: Vec<u64> =
        response.words.iter().map(|w| if lexicon.is_common(w.hash) { w.hash } else { PLACEHOLDER }).collect();
    for sentence in &response.sentences {
        let words = &skeleton[sentence.first..sentence.first + sentence.words];
        grams.extend(words.iter().filter(|&&w| w != PLACEHOLDER));
        let padded: Vec<u64> =
            std::iter::once(START).chain(words.iter().copied()).chain([u64::from(sentence.end)]).collect();
        for n in [2, 3] {
            grams.extend(
                padded.windows(n).filter(|g| g.iter().any(|&w| w > 1_000)).map(|g| fnv(g.iter().copied())),
            );
        }
    }
    block(vector, &mut grams, SKELETON, NORMS[0], ORDINARY[0]);

    grams.extend(response.words.iter().map(|w| w.hash));
    for pair in response.words.windows(2) {
        grams.push(fnv(pair.iter().map(|w| w.hash)));
    }
    let sentences = response.sentences.len().max(1) as f64;
    block(vector, &mut grams, WORDS, NORMS[1], ORDINARY[1] * sentences);

    for n in [3, 4] {
        grams.extend(response.characters.windows(n).map(|g| fnv(g.iter().map(|&c| u64::from(c)))));
    }
    block(vector, &mut grams, CHARACTERS, NORMS[2], ORDINARY[2]);
}

/// Counts `grams`, leaves them empty, and appends their hashed vector. Its length is `norm` where the counts' is
/// `ordinary`, about proportional to it below twice that, and less than 3 `norm`.
fn block(vector: &mut Vec<f32>, grams: &mut Vec<u64>, dimension: usize, norm: f64, ordinary: f64) {
    let start = vector.len();
    vector.resize(start + dimension, 0.0);
    grams.sort_unstable();
    let mut sums = vec![0.0_f64; dimension];
    for run in grams.chunk_by(|a, b| a == b) {
        let hash = mix(run[0] ^ dimension as u64);
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        sums[(hash % dimension as u64) as usize] += sign * (1.0 + (run.len() as f64).ln());
    }
    let length = sums.iter().map(|s| s * s).sum::<f64>().sqrt();
    if length > 0.0 {
        for (value, sum) in vector[start..].iter_mut().zip(&sums) {
            *value = (sum / length * 3.0 * norm * (length / (3.0 * ordinary)).tanh()) as f32;
        }
    }
    grams.clear();
}
