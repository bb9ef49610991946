use std::collections::{BTreeSet, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Dataset;
use crate::domain::Invalid;

/// Prompts (pairs, where there is one prompt) held out, and people left out, that say enough: fewer are held out in turn.
const ENOUGH_PROMPTS: usize = 20;
const ENOUGH_PEOPLE: usize = 100;
/// How often at most.
const MOST_CUTS: usize = 5;

/// The shares that a split holds out.
#[derive(Debug, Clone, Copy)]
pub struct SplitConfig {
    /// Share of the users who are held out, in [0, 1).
    pub users: f64,
    /// Share of the prompts that are held out, in [0, 1); of the pairs, where there is one prompt.
    pub prompts: f64,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { users: 0.2, prompts: 0.2, seed: 0 }
    }
}

/// A part of a split: the four quadrants of §5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quadrant {
    /// Seen users, seen prompts.
    Train,
    /// Seen users, unseen prompts.
    Validation,
    /// Unseen users, seen prompts.
    Calibration,
    /// Unseen users, unseen prompts.
    Test,
}

impl Quadrant {
    /// The four quadrants, in the order of [`Split::rows`].
    pub const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Calibration, Self::Test];

    /// The name of the quadrant's file and of its line in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Calibration => "calibration",
            Self::Test => "test",
        }
    }
}

/// Every row of a dataset in one of the four quadrants.
#[derive(Debug, Clone)]
pub struct Split {
    /// Rows of each quadrant, in the order of [`Quadrant::ALL`].
    rows: [Vec<usize>; 4],
    /// Whether pairs were held out, because there is only one prompt.
    pub by_pair: bool,
}

impl Split {
    /// Indices into [`Dataset::rows`].
    pub fn rows(&self, quadrant: Quadrant) -> &[usize] {
        &self.rows[quadrant as usize]
    }
}

/// Draws the held-out users and prompts and sorts every row into its quadrant (§5). Where there is one prompt, pairs
/// are held out instead. The draw depends on the seed and the contents alone, not on the order of lines.
///
/// # Errors
/// A share outside [0, 1).
pub fn split(data: &Dataset, config: &SplitConfig) -> Result<Split, Invalid> {
    for (field, share) in [("users", config.users), ("prompts", config.prompts)] {
        if !(0.0..1.0).contains(&share) {
            return Err(Invalid::new(field, share, "a share from 0 up to, not including, 1"));
        }
    }
    let all: Vec<usize> = (0..data.rows().len()).collect();
    Ok(split_rows(data, &all, config))
}

/// People left out of a fit, to see how it meets new ones.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Rows to fit on.
    pub fitted: Vec<usize>,
    /// Rows of people and of prompts that are in none of those: whom a service meets, and what it asks and tells them about.
    pub newcomers: Vec<usize>,
}

/// Some rows cut again and again: of few users or prompts one fifth after the other is left out. Cuts without a decided
/// judgment on one of the two sides are dropped.
pub fn folds(data: &Dataset, rows: &[usize], seed: u64) -> Vec<Fold> {
    in_turn(data, rows, &SplitConfig { seed, ..SplitConfig::default() }, Quadrant::Test)
        .iter()
        .map(|split| Fold {
            fitted: split.rows(Quadrant::Train).to_vec(),
            newcomers: split.rows(Quadrant::Test).to_vec(),
        })
        .collect()
}

/// Some rows cut to choose hyperparameters by: the same users' judgments of four fifths of the prompts, and of the others. Of few
/// prompts one fifth after the other is held out, since what happens to suit four debates is no choice. Cuts without a
/// decided judgment on one of the two sides are dropped.
pub fn cuts(data: &Dataset, rows: &[usize], seed: u64) -> Vec<Split> {
    let config = SplitConfig { users: 0.0, seed, ..SplitConfig::default() };
    in_turn(data, rows, &config, Quadrant::Validation)
}

/// Splits at one turn after the other until enough prompts, and people where any, were held out; only those with something decided
/// in the training part and in `held_out`.
fn in_turn(data: &Dataset, rows: &[usize], config: &SplitConfig, held_out: Quadrant) -> Vec<Split> {
    let any_decided = |rows: &[usize]| rows.iter().any(|&row| data.rows()[row].is_decided());
    let mut splits = Vec::new();
    for turn in 0..MOST_CUTS {
        let Turn { split, users, items } = split_in_turn(data, rows, config, turn);
        splits.push(split);
        let people = config.users == 0.0 || (turn + 1) * users >= ENOUGH_PEOPLE;
        if people && (turn + 1) * items >= ENOUGH_PROMPTS {
            break;
        }
    }
    splits.retain(|split| any_decided(split.rows(Quadrant::Train)) && any_decided(split.rows(held_out)));
    splits
}

/// [`split`] of some rows, by a config whose shares are in [0, 1): users and prompts are drawn from those that occur
/// in them.
pub fn split_rows(data: &Dataset, rows: &[usize], config: &SplitConfig) -> Split {
    split_in_turn(data, rows, config, 0).split
}

/// A split, and how many users and prompts (pairs, where there is one prompt) it holds out.
struct Turn {
    split: Split,
    users: usize,
    items: usize,
}

/// [`split_rows`] with the users and prompts of a later turn held out.
fn split_in_turn(data: &Dataset, rows: &[usize], config: &SplitConfig, turn: usize) -> Turn {
    let distinct = |of: &dyn Fn(usize) -> usize| rows.iter().map(|&row| of(row)).collect::<BTreeSet<usize>>();
    let user = |row: usize| data.rows()[row].user;
    let prompt = |row: usize| data.pairs()[data.rows()[row].pair].prompt;
    let pair = |row: usize| data.rows()[row].pair;
    let by_pair = distinct(&prompt).len() < 2;
    let item: &dyn Fn(usize) -> usize = if by_pair { &pair } else { &prompt };

    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let unseen_users = draw(distinct(&user), config.users, turn, &mut rng);
    let unseen_items = draw(distinct(item), config.prompts, turn, &mut rng);
    let mut quadrants: [Vec<usize>; 4] = Default::default();
    for &row in rows {
        let quadrant = match (unseen_users.contains(&user(row)), unseen_items.contains(&item(row))) {
            (false, false) => Quadrant::Train,
            (false, true) => Quadrant::Validation,
            (true, false) => Quadrant::Calibration,
            (true, true) => Quadrant::Test,
        };
        quadrants[quadrant as usize].push(row);
    }
    Turn { split: Split { rows: quadrants, by_pair }, users: unseen_users.len(), items: unseen_items.len() }
}

/// The share of `things`, at least one where the share is not 0, never all; at another turn others, as long as there are any.
fn draw(things: BTreeSet<usize>, share: f64, turn: usize, rng: &mut ChaCha8Rng) -> HashSet<usize> {
    let mut order: Vec<usize> = things.into_iter().collect();
    if share <= 0.0 || order.len() < 2 {
        return HashSet::new();
    }
    let number = ((order.len() as f64 * share).round() as usize).clamp(1, order.len() - 1);
    order.shuffle(rng);
    order.into_iter().skip(turn * number).take(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Comparison, Judgment, UserId};

    fn data(users: usize, prompts: usize) -> Dataset {
        let judgments: Vec<Judgment> = (0..users)
            .flat_map(|u| (0..prompts).map(move |p| (u, p)))
            .map(|(u, p)| Judgment {
                user_id: UserId::parse(format!("u{u}")).unwrap(),
                comparison: Comparison::parse(format!("x{p}"), "a", "b").unwrap(),
                preference: 1.0,
                group: String::new(),
            })
            .collect();
        Dataset::from_judgments(&judgments)
    }

    #[test]
    fn a_fifth_of_users_and_of_prompts_are_in_no_row_of_train() {
        let data = data(10, 20);
        let split = split(&data, &SplitConfig::default()).unwrap();
        let counts = Quadrant::ALL.map(|quadrant| split.rows(quadrant).len());
        assert_eq!(counts, [8 * 16, 8 * 4, 2 * 16, 2 * 4]);
        let users = |q: Quadrant| split.rows(q).iter().map(|&r| data.rows()[r].user).collect::<Vec<_>>();
        assert!(users(Quadrant::Test).iter().all(|user| !users(Quadrant::Train).contains(user)));
        assert!(!split.by_pair);
    }

    #[test]
    fn newcomers_are_in_no_fitted_row() {
        let data = data(10, 20);
        let all: Vec<usize> = (0..data.rows().len()).collect();
        let folds = folds(&data, &all, 0);
        assert_eq!(folds.len(), 5, "two people at a time");
        for Fold { fitted, newcomers } in folds {
            assert_eq!((fitted.len(), newcomers.len()), (8 * 16, 2 * 4));
            let users: Vec<usize> = fitted.iter().map(|&row| data.rows()[row].user).collect();
            assert!(newcomers.iter().all(|&row| !users.contains(&data.rows()[row].user)));
        }
        assert!(super::folds(&data, &all[..1], 0).is_empty(), "one row cannot be on both sides");
    }

    #[test]
    fn few_prompts_are_held_out_in_turn_and_many_once() {
        let prompts_of = |data: &Dataset, cut: &Split| -> BTreeSet<usize> {
            cut.rows(Quadrant::Validation)
                .iter()
                .map(|&row| data.pairs()[data.rows()[row].pair].prompt)
                .collect()
        };
        for (prompts, expected) in [(2, vec![1, 1]), (12, vec![2; 5]), (30, vec![6; 4]), (100, vec![20])] {
            let data = data(4, prompts);
            let all: Vec<usize> = (0..data.rows().len()).collect();
            let held_out: Vec<_> = cuts(&data, &all, 0).iter().map(|cut| prompts_of(&data, cut)).collect();
            assert_eq!(held_out.iter().map(BTreeSet::len).collect::<Vec<_>>(), expected, "of {prompts}");
            let distinct: BTreeSet<usize> = held_out.iter().flatten().copied().collect();
            assert_eq!(distinct.len(), expected.iter().sum::<usize>(), "none twice");
        }
    }

    #[test]
    fn the_draw_depends_on_the_seed_and_on_contents() {
        let data = data(10, 20);
        let of = |seed| split(&data, &SplitConfig { seed, ..SplitConfig::default() }).unwrap().rows;
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn pairs_are_held_out_where_there_is_one_prompt() {
        let lines: Vec<Judgment> = (0..10)
            .map(|i| Judgment {
                user_id: UserId::parse(format!("u{}", i % 2)).unwrap(),
                comparison: Comparison::parse("x", "a", format!("b{i}")).unwrap(),
                preference: 0.0,
                group: String::new(),
            })
            .collect();
        let data = Dataset::from_judgments(&lines);
        let split = split(&data, &SplitConfig { users: 0.0, ..SplitConfig::default() }).unwrap();
        assert!(split.by_pair);
        assert_eq!((split.rows(Quadrant::Train).len(), split.rows(Quadrant::Validation).len()), (8, 2));
    }

    #[test]
    fn shares_outside_zero_to_one_are_refused() {
        let config = SplitConfig { users: 1.0, ..SplitConfig::default() };
        assert_eq!(split(&data(2, 2), &config).unwrap_err().field, "users");
    }
}
