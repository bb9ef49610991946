use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::domain::Invalid;

/// How the next token is drawn from a language model's logits, and when the text ends.
///
/// In this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sampling {
    /// T ≥ 0; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only the k likeliest tokens; nothing: all.
    pub top_k: Option<usize>,
    /// The smallest set of likeliest tokens with this much probability, in (0, 1] (Holtzman et al. 2020).
    pub top_p: f64,
    /// Only tokens with at least this share of the likeliest one's probability, in [0, 1].
    pub min_p: f64,
    /// ≥ 1; logits of tokens that occurred are divided by it where positive, multiplied where negative (Keskar et al. 2019).
    pub repetition_penalty: f64,
    /// Longest completion, in tokens.
    pub max_tokens: usize,
    /// Texts that end the completion, and are not part of it.
    pub stop: Vec<String>,
}

/// Most stop texts, and the longest, in bytes.
const STOPS: (usize, usize) = (16, 256);

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

impl Sampling {
    /// Every field within what its comment allows.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), Invalid> {
        let refuse = |field: &str, given: f64, allowed: &str| Err(Invalid::new(field, given, allowed));
        if !(0.0..=10.0).contains(&self.temperature) {
            return refuse("temperature", self.temperature, "a number from 0 to 10");
        }
        if self.top_k == Some(0) {
            return refuse("top_k", 0.0, "at least 1");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p, "a number in (0, 1]");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("min_p", self.min_p, "a number from 0 to 1");
        }
        if !(1.0..=10.0).contains(&self.repetition_penalty) {
            return refuse("repetition_penalty", self.repetition_penalty, "a number from 1 to 10");
        }
        if self.max_tokens == 0 {
            return refuse("max_tokens", 0.0, "at least 1");
        }
        if self.stop.len() > STOPS.0 {
            return Err(Invalid::new("stop", self.stop.len(), format!("at most {} texts", STOPS.0)));
        }
        match self.stop.iter().find(|stop| stop.is_empty() || stop.len() > STOPS.1) {
            Some(stop) => Err(Invalid::new(
                "stop",
                format!("a text of {} bytes", stop.len()),
                format!("1 to {} bytes", STOPS.1),
            )),
            None => Ok(()),
        }
    }

    /// Makes tokens that occurred less likely.
    pub(super) fn penalise(&self, logits: &mut [f32], occurred: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let penalty = self.repetition_penalty as f32;
        let mut occurred = occurred.to_vec();
        occurred.sort_unstable();
        occurred.dedup();
        for token in occurred {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    /// What may come next, as weights that need not sum to 1. At temperature 0, the likeliest token alone.
    pub(super) fn candidates(&self, logits: &[f32]) -> Vec<Candidate> {
        let scored = logits.iter().enumerate().map(|(token, &logit)| (token as u32, f64::from(logit)));
        if self.temperature == 0.0 {
            return likeliest(scored).into_iter().collect();
        }
        let scored = scored.map(|(token, logit)| (token, logit / self.temperature)).collect();
        let scored = match self.top_k {
            Some(k) => top(scored, k),
            None => scored,
        };
        self.nucleus(scored)
    }

    /// softmax of the scores, cut by top-p, then min-p.
    pub(super) fn nucleus(&self, scored: Vec<(u32, f64)>) -> Vec<Candidate> {
        let highest = scored.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
        let weigh = |(token, score): (u32, f64)| Candidate { token, weight: (score - highest).exp() };
        let mut candidates: Vec<_> = scored.into_iter().map(weigh).collect();
        if self.top_p < 1.0 {
            let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
            // All that are lighter than this weigh less than what may be left out, so that few are left to sort.
            let least = (1.0 - self.top_p) * total / candidates.len() as f64;
            candidates.retain(|candidate| candidate.weight >= least);
            candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token)));
            let mut sum = 0.0;
            let kept = candidates.iter().take_while(|candidate| {
                let before = sum;
                sum += candidate.weight;
                before < self.top_p * total
            });
            let kept = kept.count().max(1);
            candidates.truncate(kept);
        }
        // The likeliest weighs 1.
        candidates.retain(|candidate| candidate.weight >= self.min_p);
        candidates
    }
}

/// A token and how much it weighs among what may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) weight: f64,
}

/// One of `candidates`, by weight; its position.
pub(super) fn draw(candidates: &[Candidate], rng: &mut ChaCha8Rng) -> usize {
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut left = rng.random::<f64>() * total;
    for (index, candidate) in candidates.iter().enumerate() {
        left -= candidate.weight;
        if left < 0.0 {
            return index;
        }
    }
    candidates.len().saturating_sub(1)
}

/// The token of the highest score, the first of equals.
pub(super) fn likeliest(scored: impl Iterator<Item = (u32, f64)>) -> Option<Candidate> {
    let highest = scored.fold(None, |best: Option<(u32, f64)>, one| match best {
        Some(best) if best.1 >= one.1 => Some(best),
        _ => Some(one),
    });
    highest.map(|(token, _)| Candidate { token, weight: 1.0 })
}

/// The k highest scores, highest first, the first of equals first.
pub(super) fn top(mut scored: Vec<(u32, f64)>, k: usize) -> Vec<(u32, f64)> {
    let by_score = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k < scored.len() {
        scored.select_nth_unstable_by(k, by_score);
        scored.truncate(k);
    }
    scored.sort_unstable_by(by_score);
    scored
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 3.0];

    fn tokens(sampling: &Sampling) -> Vec<u32> {
        let mut tokens: Vec<_> =
            sampling.candidates(&LOGITS).iter().map(|candidate| candidate.token).collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn each_cut_keeps_what_its_name_says() {
        let all = Sampling::default();
        assert_eq!(tokens(&all), [0, 1, 2, 3, 4]);
        assert_eq!(tokens(&Sampling { temperature: 0.0, ..all.clone() }), [1]);
        assert_eq!(tokens(&Sampling { top_k: Some(3), ..all.clone() }), [1, 2, 4]);
        assert_eq!(tokens(&Sampling { top_k: Some(1), ..all.clone() }), [1]);
        // Probabilities: .054, .397, .146, .007 and .397.
        assert_eq!(tokens(&Sampling { top_p: 0.39, ..all.clone() }), [1]);
        assert_eq!(tokens(&Sampling { top_p: 0.79, ..all.clone() }), [1, 4]);
        assert_eq!(tokens(&Sampling { top_p: 0.82, ..all.clone() }), [1, 2, 4]);
        assert_eq!(tokens(&Sampling { min_p: 0.3, ..all.clone() }), [1, 2, 4]);
        assert_eq!(tokens(&Sampling { min_p: 1.0, ..all.clone() }), [1, 4]);
        // Hotter, the lightest weighs e^(−.4) of the heaviest.
        assert_eq!(tokens(&Sampling { temperature: 10.0, min_p: 0.6, ..all.clone() }), [0, 1, 2, 3, 4]);
        assert_eq!(tokens(&Sampling { top_k: Some(4), top_p: 0.8, min_p: 0.5, ..all }), [1, 4]);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_softmax_says() {
        let sampling = Sampling { temperature: 0.7, ..Sampling::default() };
        let candidates = sampling.candidates(&LOGITS);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0usize; LOGITS.len()];
        let draws = 100_000;
        (0..draws).for_each(|_| counts[candidates[draw(&candidates, &mut rng)].token as usize] += 1);
        let exp = LOGITS.map(|logit| (f64::from(logit) / 0.7).exp());
        let total: f64 = exp.iter().sum();
        for (count, p) in counts.iter().zip(exp.map(|weight| weight / total)) {
            let (share, error) = (*count as f64 / draws as f64, (p * (1.0 - p) / draws as f64).sqrt());
            assert!((share - p).abs() < 4.0 * error, "{share} {p}");
        }
    }

    #[test]
    fn a_penalty_makes_what_occurred_less_likely_once() {
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        let mut logits = LOGITS;
        sampling.penalise(&mut logits, &[1, 3, 1, 99]);
        assert_eq!(logits, [1.0, 1.5, 2.0, -2.0, 3.0]);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let all = Sampling::default;
        for (sampling, field) in [
            (Sampling { temperature: f64::NAN, ..all() }, "temperature"),
            (Sampling { temperature: -0.1, ..all() }, "temperature"),
            (Sampling { top_k: Some(0), ..all() }, "top_k"),
            (Sampling { top_p: 0.0, ..all() }, "top_p"),
            (Sampling { min_p: 1.1, ..all() }, "min_p"),
            (Sampling { repetition_penalty: 0.5, ..all() }, "repetition_penalty"),
            (Sampling { max_tokens: 0, ..all() }, "max_tokens"),
            (Sampling { stop: vec![String::new()], ..all() }, "stop"),
            (Sampling { stop: vec!["x".to_owned(); 17], ..all() }, "stop"),
        ] {
            assert_eq!(sampling.check().unwrap_err().field, field);
        }
        all().check().unwrap();
    }
}
