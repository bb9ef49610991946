//! What AUC anybody could reach: how far people agree with one another, and each with themselves.
//!
//! Of a pair, let p be the chance that a judgment prefers the first response. Two judgments agree with the chance
//! E[p² + (1 − p)²]. With p ~ Beta(a, a), which is the beta-binomial model of votes, that is (a + 1)/(2a + 1), so that the
//! agreement found gives a. Whoever knows p is right on a pair with the chance q = max(p, 1 − p), and AUC-ROC, which
//! counts comparisons in both orders, is decided of two comparisons by the surer: E max(q, q′). Agreement between people
//! bounds every shared reward so, and agreement of people with themselves every personal one; what lies between is the
//! room for personalization.
//!
//! Room is of use where taste carries from one pair to another. If it does, two people who agreed on one pair agree on others
//! more often than how careful each of them is would have it: the covariance of their agreement on two pairs exceeds what is left
//! when every pair's votes are dealt anew among those who gave them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::evaluate::protocol::{MIN_TEST, people};
use crate::math::logistic::sigmoid;
use crate::math::metrics::{Estimate, auc, mean_and_standard_error};
use crate::train::Dataset;

/// What judgments allow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// People.
    pub people: usize,
    /// Judgments that prefer one response.
    pub decided: usize,
    /// Share of ties among all judgments.
    pub ties: f64,
    /// Pairs that two people or more decided.
    pub shared_pairs: usize,
    /// How often two people who decided the same pair agree.
    pub agreement: Option<Agreement>,
    /// AUC of each judgment by the votes of the others on its pair, mean over people: what a shared reward that only knew
    /// these votes would reach. Few raters a pair make it less than [`Agreement::auc`].
    pub others: Option<f64>,
    /// Its standard error over people.
    pub others_se: Option<f64>,
    /// How often two decisions of a person on the same pair agree.
    pub with_oneself: Option<Agreement>,
    /// How often people agree with the others on the pairs that somebody judged twice: what [`Ceiling::with_oneself`] is to be
    /// held against, for those pairs may be easier than others.
    pub on_repeated: Option<Agreement>,
    /// What carries from pair to pair; nothing where no two people share two pairs.
    pub taste: Option<Taste>,
}

/// How much two people's agreement differs from couple to couple, as a standard deviation of the chance to agree, beyond luck
/// and beyond how often each of them agrees with everybody.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Taste {
    /// The standard deviation; 0 where the covariance is not positive.
    pub spread: f64,
    /// The same at two standard errors of the covariance below and above, people being drawn: by the jackknife, [`GROUPS`] groups
    /// of people left out in turn.
    pub interval: (f64, f64),
}

/// How often two judgments of a pair agree, and what that allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Couples of judgments.
    pub couples: usize,
    /// Share of them that agree.
    pub share: f64,
    /// Its standard error, pairs being drawn.
    pub share_se: f64,
    /// The largest AUC, E max(q, q′).
    pub auc: f64,
    /// The same at two standard errors of the share below and above.
    pub auc_interval: (f64, f64),
}

/// A person, and how often they took the first text of a pair and the second.
type Votes = (usize, [usize; 2]);

/// Reads agreement off judgments; nothing is trained.
pub fn ceiling(data: &Dataset) -> Ceiling {
    let people = people(data);
    let mut votes: BTreeMap<(usize, usize), Vec<Votes>> = BTreeMap::new();
    let mut decided = 0;
    for (at, person) in people.iter().enumerate() {
        for pair in &person.pairs {
            let first = pair.outcomes.iter().filter(|&&a| a > 0.5).count();
            decided += pair.outcomes.len();
            votes
                .entry((pair.first, pair.second))
                .or_default()
                .push((at, [first, pair.outcomes.len() - first]));
        }
    }
    let total =
        |of: &[Votes]| of.iter().fold([0, 0], |sum, (_, votes)| [sum[0] + votes[0], sum[1] + votes[1]]);
    // Couples that agree and all couples, of one pair.
    let within = |of: &[Votes]| {
        of.iter().map(|(_, votes)| couples(*votes)).fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
    };
    let between = |of: &[Votes]| {
        let (all, own) = (couples(total(of)), within(of));
        (all.0 - own.0, all.1 - own.1)
    };
    let repeated = |of: &&Vec<Votes>| within(of).1 > 0;
    let mut margins: Vec<Vec<f64>> = vec![Vec::new(); people.len()];
    for of in votes.values().filter(|of| of.len() > 1) {
        let [first, second] = total(of);
        for (at, own) in of {
            let rest = |all: usize, own: usize| (all - own) as f64 + 0.5;
            let margin = (rest(first, own[0]) / rest(second, own[1])).ln();
            margins[*at].extend(std::iter::repeat_n(margin, own[0]));
            margins[*at].extend(std::iter::repeat_n(-margin, own[1]));
        }
    }
    let aucs: Vec<f64> =
        margins.iter().filter(|own| own.len() >= MIN_TEST).filter_map(|own| auc(own)).collect();
    let others = mean_and_standard_error(&aucs);
    Ceiling {
        people: people.len(),
        decided,
        ties: 1.0 - decided as f64 / data.rows().len().max(1) as f64,
        shared_pairs: votes.values().filter(|of| of.len() > 1).count(),
        agreement: Agreement::of(votes.values().map(|of| between(of))),
        others: others.map(|Estimate { mean, .. }| mean),
        others_se: others.and_then(|Estimate { standard_error, .. }| standard_error),
        with_oneself: Agreement::of(votes.values().map(|of| within(of))),
        on_repeated: Agreement::of(votes.values().filter(repeated).map(|of| between(of))),
        taste: Taste::of(votes.values().map(|of| of.iter().map(|&(at, [a, b])| (at, a > b)).collect())),
    }
}

/// People of a pair who are held against each other, at most; more are drawn from.
const RATERS: usize = 60;
/// Times that votes are dealt anew.
const DEALS: usize = 20;
/// Groups of people for the jackknife, each of every [`GROUPS`]th.
const GROUPS: usize = 20;
/// Agreements with everybody by which a person's own rate is held to the mean.
const HELD: f64 = 10.0;

impl Taste {
    /// From who voted for the first, on every pair.
    fn of(pairs: impl Iterator<Item = Vec<(usize, bool)>>) -> Option<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut pairs: Vec<Vec<(usize, bool)>> = pairs.filter(|of| of.len() > 1).collect();
        for of in &mut pairs {
            of.shuffle(&mut rng);
            of.truncate(RATERS);
            of.sort_unstable();
        }
        let found = covariance(&pairs)?;
        let without = |group: usize| {
            let others = |of: &Vec<(usize, bool)>| {
                of.iter().copied().filter(|(who, _)| who % GROUPS != group).collect()
            };
            covariance(&pairs.iter().map(others).collect::<Vec<_>>())
        };
        let deviation = jackknife(&(0..GROUPS).filter_map(without).collect::<Vec<_>>())?;
        let dealt: Vec<f64> = (0..DEALS)
            .filter_map(|_| {
                for of in &mut pairs {
                    let mut votes: Vec<bool> = of.iter().map(|&(_, vote)| vote).collect();
                    votes.shuffle(&mut rng);
                    of.iter_mut().zip(votes).for_each(|(one, vote)| one.1 = vote);
                }
                covariance(&pairs)
            })
            .collect();
        let mean = mean_and_standard_error(&dealt)?.mean;
        let spread = |covariance: f64| covariance.max(0.0).sqrt();
        let beyond = found - mean;
        let interval = (spread(beyond - 2.0 * deviation), spread(beyond + 2.0 * deviation));
        Some(Self { spread: spread(beyond), interval })
    }
}

/// The standard error of an estimate from what it is with each of several groups left out (Efron 1982); nothing from less than two.
fn jackknife(without: &[f64]) -> Option<f64> {
    let Estimate { standard_error, count, .. } = mean_and_standard_error(without)?;
    Some(standard_error? * (count as f64 - 1.0))
}

/// The mean over couples of people and two of their pairs of (agreement − its expectation) on the one times that on the
/// other, expectation being how often the two agree with everybody.
fn covariance(pairs: &[Vec<(usize, bool)>]) -> Option<f64> {
    let mut couples: HashMap<(usize, usize), (f64, f64)> = HashMap::new();
    for of in pairs {
        for (at, &(one, vote)) in of.iter().enumerate() {
            for &(other, said) in &of[at + 1..] {
                let (agreed, all) = couples.entry((one, other)).or_default();
                *agreed += if vote == said { 1.0 } else { 0.0 };
                *all += 1.0;
            }
        }
    }
    // Sums of whole numbers do not depend on the order of a hash map; the others are made in order.
    let mut couples: Vec<_> = couples.into_iter().collect();
    couples.sort_unstable_by_key(|&(who, _)| who);
    let (agreed, all) = couples.iter().fold((0.0, 0.0), |sum, (_, of)| (sum.0 + of.0, sum.1 + of.1));
    let mean = agreed / all;
    let mut own: HashMap<usize, (f64, f64)> = HashMap::new();
    for &((one, other), (agreed, all)) in &couples {
        for who in [one, other] {
            let (excess, of) = own.entry(who).or_default();
            *excess += agreed - mean * all;
            *of += all;
        }
    }
    let careful = |who: usize| own.get(&who).map_or(0.0, |(excess, of)| excess / (of + HELD));
    let (mut products, mut count) = (0.0, 0.0);
    for ((one, other), (agreed, all)) in couples.into_iter().filter(|(_, (_, all))| *all > 1.0) {
        let expected = mean + careful(one) + careful(other);
        let sum = agreed - all * expected;
        let squares = agreed * (1.0 - expected).powi(2) + (all - agreed) * expected.powi(2);
        products += sum * sum - squares;
        count += all * (all - 1.0);
    }
    (count > 0.0).then(|| products / count)
}

/// Of all couples among so many votes for one and for the other: those that agree, and how many there are.
fn couples([one, other]: [usize; 2]) -> (usize, usize) {
    let choose = |n: usize| n * n.saturating_sub(1) / 2;
    (choose(one) + choose(other), choose(one + other))
}

impl Agreement {
    /// From (couples that agree, couples) of every pair.
    fn of(pairs: impl Iterator<Item = (usize, usize)>) -> Option<Self> {
        let pairs: Vec<(f64, f64)> = pairs.map(|(agree, all)| (agree as f64, all as f64)).collect();
        let (agree, all) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        if all == 0.0 {
            return None;
        }
        let share = agree / all;
        let share_se =
            pairs.iter().map(|(agree, all)| (agree - share * all).powi(2)).sum::<f64>().sqrt() / all;
        Some(Self {
            couples: all as usize,
            share,
            share_se,
            auc: best_auc(share),
            auc_interval: (best_auc(share - 2.0 * share_se), best_auc(share + 2.0 * share_se)),
        })
    }
}

/// E max(q, q′) where two judgments of a pair agree with the chance `agreement`.
fn best_auc(agreement: f64) -> f64 {
    if agreement <= 0.5 {
        return 0.5;
    }
    if agreement >= 1.0 {
        return 1.0;
    }
    let a = (1.0 - agreement) / (2.0 * agreement - 1.0);
    // In x = logit q ≥ 0 the density is (q (1 − q))ᵃ up to a constant; it has fallen by e⁻⁴⁰ at 40/a.
    let step = 40.0 / a / GRID as f64;
    let (mut below, mut sum) = (0.0, 0.0);
    for at in 0..GRID {
        let x = (at as f64 + 0.5) * step;
        let q = sigmoid(x);
        // ln q + ln (1 − q), where 1 − q may be too small to be told from 0.
        let weight = (-a * (x + 2.0 * (-x).exp().ln_1p())).exp();
        // This one is the larger of two: the other lies below, or in the same cell.
        sum += q * weight * (2.0 * below + weight);
        below += weight;
    }
    sum / (below * below)
}

const GRID: usize = 20_000;

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { people, decided, ties, shared_pairs, .. } = self;
        writeln!(
            f,
            "{decided} decided judgments of {people} people, {:.0} % ties beside; {shared_pairs} pairs decided by two people or more",
            100.0 * ties
        )?;
        writeln!(
            f,
            "{:44}{:>9}{:>16}{:>9}{:>16}",
            "two judgments of a pair", "couples", "agree", "best AUC", "± 2 s.e."
        )?;
        for (what, agreement) in [
            ("of two people: bounds every shared reward", &self.agreement),
            ("of one person: bounds every personal one", &self.with_oneself),
            ("of two people, on the pairs of the line above", &self.on_repeated),
        ] {
            let Some(Agreement { couples, share, share_se, auc, auc_interval }) = agreement else {
                writeln!(f, "{what:44}{:>9}{:>16}{:>9}{:>16}", 0, "–", "–", "–")?;
                continue;
            };
            let share = super::cell(*share, Some(*share_se), false);
            let interval = format!("{:.3} – {:.3}", auc_interval.0, auc_interval.1);
            writeln!(f, "{what:44}{couples:>9}{share:>16}{auc:>9.3}{interval:>16}")?;
        }
        if let Some(others) = self.others {
            let others = super::cell(others, self.others_se, false);
            writeln!(f, "AUC by the votes of the others on the same pair: {others}")?;
        }
        if let Some(Taste { spread, interval: (low, high) }) = self.taste {
            writeln!(
                f,
                "taste that carries from pair to pair: couples' chances to agree differ by ± {spread:.3} ({low:.3} – {high:.3})"
            )?;
        }
        if let (Some(others), Some(own)) = (&self.on_repeated, &self.with_oneself) {
            let room = super::cell(own.share - others.share, Some(own.share_se.hypot(others.share_se)), true);
            writeln!(
                f,
                "room for personalization: {:+.3} AUC, people agreeing with themselves more often than with others by {room}",
                own.auc - others.auc
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::domain::{Comparison, Judgment, UserId};

    fn judgment(user: usize, pair: usize, first: bool) -> Judgment {
        Judgment {
            user_id: UserId::parse(format!("u{user:02}")).unwrap(),
            comparison: Comparison::parse(format!("x{pair}"), "a", "b").unwrap(),
            preference: if first { 1.0 } else { 0.0 },
            group: String::new(),
        }
    }

    #[test]
    fn agreement_gives_the_auc_of_whoever_knows_the_chances() {
        assert_eq!((best_auc(0.4), best_auc(0.5), best_auc(1.0)), (0.5, 0.5, 1.0));
        // p uniform on [0, 1] agrees in 2/3; q is uniform on [½, 1], the larger of two is 5/6.
        assert!((best_auc(2.0 / 3.0) - 5.0 / 6.0).abs() < 1e-6, "{}", best_auc(2.0 / 3.0));
        // 1 − ∫ F(q)² dq with F(q) = 1 − 2 I₁₋q(a, a), by scipy's `betainc` and `quad`.
        for (agreement, auc) in [(0.75, 0.9052847), (0.9, 0.9841505), (0.95, 0.9959649), (0.98, 0.9993470)] {
            assert!((best_auc(agreement) - auc).abs() < 2e-6, "{agreement}: {} {auc}", best_auc(agreement));
        }
    }

    #[test]
    fn known_agreement_of_people_with_others_and_with_themselves_is_found() {
        // p is uniform: two of the 20 people agree in 2/3. Everybody who says it twice says the same.
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut judgments = Vec::new();
        for pair in 0..600 {
            let p: f64 = rng.random();
            for user in 0..20 {
                let first = rng.random::<f64>() < p;
                let times = if user == pair % 20 { 2 } else { 1 };
                judgments.extend((0..times).map(|_| judgment(user, pair, first)));
            }
        }
        let found = ceiling(&Dataset::from_judgments(&judgments));
        assert_eq!((found.people, found.decided, found.shared_pairs, found.ties), (20, 12_600, 600, 0.0));
        let agreement = found.agreement.unwrap();
        assert!((agreement.share - 2.0 / 3.0).abs() < 2.5 * agreement.share_se, "{agreement:?}");
        assert!((agreement.auc - 5.0 / 6.0).abs() < 0.02, "{agreement:?}");
        // 19 others leave a little to be known.
        let others = found.others.unwrap();
        assert!(others < agreement.auc && others > agreement.auc - 0.03, "{others} {agreement:?}");
        let own = found.with_oneself.unwrap();
        assert_eq!((own.couples, own.share, own.auc), (600, 1.0, 1.0));
        assert!(found.to_string().contains("room for personalization: +0.1"), "{found}");
        // Everybody follows the same chances.
        assert!(found.taste.unwrap().interval.0 < 0.02, "{:?}", found.taste);
    }

    #[test]
    fn taste_is_told_from_care() {
        // In camps, two people agree with the chance .8 within one and .2 between; otherwise half of them answer by a coin.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut judgments = |camps: bool| {
            let mut judgments = Vec::new();
            for pair in 0..200 {
                let liked: bool = rng.random();
                for user in 0..20 {
                    let own = match (camps, user % 2 == 0) {
                        (true, even) => liked == even,
                        (false, true) => liked,
                        (false, false) => rng.random(),
                    };
                    judgments.push(judgment(user, pair, own == (rng.random::<f64>() < 0.887)));
                }
            }
            ceiling(&Dataset::from_judgments(&judgments)).taste.unwrap()
        };
        let (camps, care) = (judgments(true), judgments(false));
        assert!((camps.spread - 0.3).abs() < 0.03 && camps.interval.0 > 0.25, "{camps:?}");
        assert!(care.spread < 0.12, "{care:?}");
    }

    #[test]
    fn people_who_share_no_pair_tell_nothing_of_agreement() {
        let judgments: Vec<_> = (0..40).map(|at| judgment(at % 4, at, true)).collect();
        let found = ceiling(&Dataset::from_judgments(&judgments));
        assert_eq!(
            (found.shared_pairs, found.agreement, found.with_oneself, found.taste),
            (0, None, None, None)
        );
        assert!(found.others.is_none() && found.to_string().contains('–'));
    }

    #[test]
    fn couples_are_counted_once() {
        assert_eq!(couples([3, 2]), (4, 10));
        assert_eq!(couples([1, 0]), (0, 0));
    }
}
