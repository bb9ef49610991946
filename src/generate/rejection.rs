/// Speculative rejection (Sun et al. 2024, "Fast Best-of-N Decoding via Speculative Rejection"): what a text is worth shows while it
/// is written, so that the worse half of the candidates is given up after a quarter of the longest length allowed, and of those
/// that are left the worse half again after a half. Of N texts of the longest length half as many tokens are written then.
///
/// Texts are compared after the same number of tokens, whatever came first to the ear, so that who is given up does not depend on
/// time. A text that ends before a round stays, and is compared at the end.
#[derive(Debug)]
pub struct Rejection {
    /// Tokens after which each round is held, ascending.
    rounds: Vec<usize>,
    /// Rounds that were held.
    held: usize,
    runners: Vec<Runner>,
}

/// A candidate on its way.
#[derive(Debug, Clone, Default)]
struct Runner {
    text: String,
    /// Its text at each round that it came to.
    prefixes: Vec<String>,
    finished: bool,
    rejected: bool,
}

impl Rejection {
    /// Fewest candidates that it is worth while for.
    pub const LEAST: usize = 16;

    /// For `count` candidates of at most `max_tokens`; nothing for few or for texts of a few words.
    pub fn of(count: usize, max_tokens: usize) -> Option<Self> {
        let rounds = vec![max_tokens / 4, max_tokens / 2];
        (count >= Self::LEAST && rounds[0] >= 8).then(|| Self {
            rounds,
            held: 0,
            runners: vec![Runner::default(); count],
        })
    }

    /// Candidate `index` goes on with `text`, and has so many tokens by now.
    pub fn heard(&mut self, index: usize, text: &str, tokens: usize) {
        let Some(runner) = self.runners.get_mut(index) else { return };
        runner.text.push_str(text);
        while self.rounds.get(runner.prefixes.len()).is_some_and(|&round| tokens >= round) {
            runner.prefixes.push(runner.text.clone());
        }
    }

    /// Candidate `index` is over.
    pub fn finished(&mut self, index: usize) {
        if let Some(runner) = self.runners.get_mut(index) {
            runner.finished = true;
        }
    }

    /// Who competes in the round that is due, and with which texts; nothing while one is still on its way there.
    pub fn due(&self) -> Option<Vec<(usize, &str)>> {
        if self.held == self.rounds.len() {
            return None;
        }
        let mut competing = Vec::new();
        for (index, runner) in self.runners.iter().enumerate().filter(|(_, runner)| !runner.rejected) {
            match runner.prefixes.get(self.held) {
                Some(prefix) => competing.push((index, prefix.as_str())),
                None if runner.finished => {}
                None => return None,
            }
        }
        Some(competing)
    }

    /// Holds the round: `ranked` are places among those who were due, best first. Who is given up now.
    pub fn held(&mut self, ranked: &[usize]) -> Vec<usize> {
        let competing: Vec<_> = self.due().into_iter().flatten().map(|(index, _)| index).collect();
        self.held += 1;
        let kept = competing.len().div_ceil(2);
        let rejected: Vec<_> =
            ranked.iter().skip(kept).filter_map(|&place| competing.get(place).copied()).collect();
        rejected.iter().for_each(|&index| self.runners[index].rejected = true);
        rejected
    }

    /// Whether the candidate was given up.
    pub fn has_rejected(&self, index: usize) -> bool {
        self.runners.get(index).is_some_and(|runner| runner.rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_waits_for_all_who_are_still_written_and_keeps_the_better_half() {
        let mut rejection = Rejection::of(16, 40).unwrap();
        assert_eq!(rejection.rounds, [10, 20]);
        for index in 0..15 {
            rejection.heard(index, "five ", 5);
            rejection.heard(index, &format!("ten by {index} "), 10);
            rejection.heard(index, "and on ", 12);
        }
        assert_eq!(rejection.due(), None, "the last one has said nothing");
        rejection.finished(15);
        let due = rejection.due().unwrap();
        assert_eq!((due.len(), due[3]), (15, (3, "five ten by 3 ")));
        let ranked: Vec<_> = (0..15).rev().collect();
        assert_eq!(rejection.held(&ranked), [6, 5, 4, 3, 2, 1, 0]);
        assert!(rejection.has_rejected(0) && !rejection.has_rejected(7) && !rejection.has_rejected(15));
        assert_eq!(rejection.due(), None);
        for index in 0..15 {
            // Whoever was given up may still be heard.
            rejection.heard(index, "end", 20);
            rejection.finished(index);
        }
        assert_eq!(rejection.due().unwrap().len(), 8);
        assert_eq!(rejection.held(&[0, 1, 2, 3, 4, 5, 6, 7]), [11, 12, 13, 14]);
        assert_eq!(rejection.due(), None, "no more rounds");
    }

    #[test]
    fn whoever_runs_ahead_is_compared_as_it_was_at_the_round() {
        let mut rejection = Rejection::of(16, 40).unwrap();
        rejection.heard(0, "far ahead", 33);
        (1..16).for_each(|index| rejection.heard(index, "x", 10));
        assert_eq!(rejection.due().unwrap()[0], (0, "far ahead"));
        rejection.held(&(0..16).collect::<Vec<_>>());
        (1..16).for_each(|index| rejection.heard(index, "y", 20));
        assert_eq!(rejection.due().unwrap()[..2], [(0, "far ahead"), (1, "xy")]);
    }

    #[test]
    fn few_candidates_and_short_texts_are_all_written() {
        assert!(Rejection::of(15, 400).is_none());
        assert!(Rejection::of(16, 31).is_none());
        assert!(Rejection::of(16, 32).is_some());
    }
}
