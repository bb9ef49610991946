use futures::StreamExt;
use nalgebra::DMatrix;
use serde::Serialize;

use super::Strategy;
use crate::evaluate::EvaluateError;
use crate::generate::{GenerateError, OpenAi, style_instruction};
use crate::math::Posterior;
use crate::math::metrics::mean_and_standard_error;

/// Calls under way at once.
const AT_ONCE: usize = 8;

const SYSTEM: &str = "You judge which of two answers a reader would like better. What the reader likes is all that counts: neither the \
order in which the answers are shown nor your own taste. Reply with one word: A, B or TIE.";

/// A completion beside an unguided one to the same prompt, for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Duel {
    /// Who wrote the first.
    pub strategy: Strategy,
    /// For whom.
    pub person: usize,
    /// What they like, in words.
    pub taste: String,
    /// x
    pub prompt: String,
    /// The strategy's.
    pub ours: String,
    /// The unguided one.
    pub theirs: String,
}

/// What a language model says of a strategy. Each pair is shown in both orders; where the two verdicts contradict each other the
/// pair counts as a tie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Judged {
    /// Which.
    pub strategy: Strategy,
    /// Pairs that were judged.
    pub pairs: usize,
    /// How often it is preferred to the unguided completion, a tie as a half: mean over people.
    pub win_rate_mean: f64,
    /// Its standard error.
    pub win_rate_se: Option<f64>,
    /// Share of ties, contradictions among them.
    pub ties: f64,
    /// Share of pairs of which the judge says the opposite in the other order.
    pub contradictions: f64,
}

/// What a taste λ rewards, in the words of the base functions' labels.
pub(super) fn taste_in_words(
    labels: &[String],
    taste: &nalgebra::DVector<f64>,
) -> Result<String, EvaluateError> {
    // Known for sure.
    let precision = DMatrix::identity(taste.len(), taste.len()) * 1e12;
    let known = Posterior::from_parts(taste.clone(), precision)?;
    Ok(style_instruction(labels, &known).unwrap_or_default())
}

/// Asks the judge about every pair in both orders.
///
/// # Errors
/// A language model that cannot be reached or refuses.
pub async fn judge(
    duels: &[Duel],
    judge: &OpenAi,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Judged>, EvaluateError> {
    let asked = duels.iter().map(|duel| async move {
        let first = verdict(judge, duel, (&duel.ours, &duel.theirs)).await?;
        let second = verdict(judge, duel, (&duel.theirs, &duel.ours)).await?;
        Ok::<_, GenerateError>([first, 1.0 - second])
    });
    let mut asked = futures::stream::iter(asked).buffered(AT_ONCE);
    let mut verdicts = Vec::with_capacity(duels.len());
    while let Some(both) = asked.next().await {
        verdicts.push(both?);
        progress(verdicts.len() as f64 / duels.len() as f64);
    }
    Ok(summed_up(duels, &verdicts))
}

/// 1 where the one shown as A is preferred, 0 where the other is, else a half.
async fn verdict(judge: &OpenAi, duel: &Duel, (a, b): (&str, &str)) -> Result<f64, GenerateError> {
    let question =
        format!("{}\n\nThe question:\n{}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n", duel.taste, duel.prompt);
    Ok(read(&judge.reply(SYSTEM, &question).await?))
}

/// The first word, whatever is around it; what is neither A nor B is a tie.
fn read(reply: &str) -> f64 {
    let word = reply.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    match word.filter(|word| !word.eq_ignore_ascii_case("answer")).find(|word| !word.is_empty()) {
        Some("A" | "a") => 1.0,
        Some("B" | "b") => 0.0,
        Some(_) | None => 0.5,
    }
}

/// `verdicts` are what is said of ours in either order.
fn summed_up(duels: &[Duel], verdicts: &[[f64; 2]]) -> Vec<Judged> {
    let mut strategies: Vec<Strategy> = Vec::new();
    for duel in duels {
        if !strategies.contains(&duel.strategy) {
            strategies.push(duel.strategy);
        }
    }
    let people = duels.iter().map(|duel| duel.person + 1).max().unwrap_or(0);
    strategies
        .into_iter()
        .map(|strategy| {
            let of: Vec<_> =
                duels.iter().zip(verdicts).filter(|(duel, _)| duel.strategy == strategy).collect();
            let win = |both: &[f64; 2]| match both[0] + both[1] {
                sum if sum > 1.0 => 1.0,
                sum if sum < 1.0 => 0.0,
                _ => 0.5,
            };
            let share = |count: usize| count as f64 / of.len() as f64;
            let means: Vec<f64> = (0..people)
                .filter_map(|person| {
                    let own = of.iter().filter(|(duel, _)| duel.person == person);
                    let wins: Vec<f64> = own.map(|(_, both)| win(both)).collect();
                    mean_and_standard_error(&wins).map(|found| found.mean)
                })
                .collect();
            let found = mean_and_standard_error(&means);
            Judged {
                strategy,
                pairs: of.len(),
                win_rate_mean: found.map_or(0.5, |found| found.mean),
                win_rate_se: found.and_then(|found| found.standard_error),
                ties: share(of.iter().filter(|(_, both)| win(both) == 0.5).count()),
                contradictions: share(of.iter().filter(|(_, both)| (both[0] - both[1]).abs() == 1.0).count()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_word_and_what_is_none_is_a_tie() {
        for (reply, expected) in [
            ("A", 1.0),
            (" **B**.\nBecause it is longer", 0.0),
            ("Answer A", 1.0),
            ("TIE", 0.5),
            ("tie: A and B", 0.5),
            ("I cannot say", 0.5),
            ("", 0.5),
        ] {
            assert_eq!(read(reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn contradictions_are_ties_and_people_count_alike() {
        let duel = |strategy, person| Duel {
            strategy,
            person,
            taste: String::new(),
            prompt: String::new(),
            ours: String::new(),
            theirs: String::new(),
        };
        let best = Strategy::BestOf(4);
        // One person with three pairs, another with one; and a strategy that is always worse.
        let duels =
            [duel(best, 0), duel(best, 0), duel(best, 0), duel(best, 1), duel(Strategy::ValueGuided(1.0), 1)];
        let verdicts = [[1.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.0], [0.0, 0.0]];
        let [first, second] = summed_up(&duels, &verdicts).try_into().unwrap();
        assert_eq!((first.strategy, first.pairs, first.ties, first.contradictions), (best, 4, 0.5, 0.25));
        // (1 + ½ + ½)/3 and 0.
        assert!((first.win_rate_mean - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((second.pairs, second.win_rate_mean, second.win_rate_se), (1, 0.0, None));
    }
}
