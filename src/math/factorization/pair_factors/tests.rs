use serde_json::Value;

use super::*;
use crate::math::logistic::sigmoid;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/pair_factors.json"));

/// What `tests/reference/pair_factors.json` holds.
struct Reference {
    problem: PairProblem,
    judgments: Vec<PairJudgment>,
    options: PairOptions,
    values: Value,
}

fn reference() -> Reference {
    let values: Value = serde_json::from_str(REFERENCE).expect("JSON");
    let number = |value: &Value| value.as_f64().expect("a number");
    let judgments: Vec<PairJudgment> = values["judgments"]
        .as_array()
        .expect("judgments")
        .iter()
        .map(|j| PairJudgment {
            user: number(&j[0]) as u32,
            pair: number(&j[1]) as u32,
            preference: number(&j[2]) as f32,
            weight: number(&j[3]) as f32,
        })
        .collect();
    let (users, pairs) = (number(&values["users"]) as usize, number(&values["pairs"]) as usize);
    let options = PairOptions {
        factors: number(&values["factors"]) as usize,
        user_ridge: number(&values["alpha"]),
        pair_ridge: number(&values["beta"]),
        sweeps: 200,
        tolerance: 0.0,
        seed: 1,
    };
    Reference {
        problem: PairProblem::new(&judgments, users, pairs).expect("valid"),
        judgments,
        options,
        values,
    }
}

/// Judgments of 300 people about 200 pairs, three directions of taste.
fn sample(seed: u64) -> Vec<PairJudgment> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut side = |n: usize| -> Vec<[f64; 3]> {
        (0..n).map(|_| std::array::from_fn(|_| 3.0 * rng.random::<f64>() - 1.5)).collect()
    };
    let (users, pairs) = (side(300), side(200));
    (0..9_000)
        .map(|_| {
            let (user, pair) = (rng.random_range(0..300_usize), rng.random_range(0..200_usize));
            let z: f64 = users[user].iter().zip(&pairs[pair]).map(|(u, v)| u * v).sum();
            let preference = if rng.random::<f64>() < sigmoid(z) { 1.0 } else { 0.0 };
            PairJudgment { user: user as u32, pair: pair as u32, preference, weight: 1.0 }
        })
        .collect()
}

fn fit(judgments: &[PairJudgment], options: &PairOptions) -> PairFactors {
    let problem = PairProblem::new(judgments, 300, 200).expect("valid");
    problem.fit(options, &mut ()).expect("a fit")
}

/// F as it is written.
fn objective(judgments: &[PairJudgment], u: &DMatrix<f64>, v: &DMatrix<f64>, options: &PairOptions) -> f64 {
    let loss: f64 = judgments
        .iter()
        .map(|j| {
            let z = u.row(j.user as usize).dot(&v.row(j.pair as usize));
            f64::from(j.weight) * binary_cross_entropy(z, f64::from(j.preference))
        })
        .sum();
    loss + 0.5 * options.user_ridge * u.norm_squared() + 0.5 * options.pair_ridge * v.norm_squared()
}

/// `tests/reference/pair_factors.py`: L-BFGS on the same objective from twenty starts.
#[test]
fn meets_the_reference() {
    let Reference { problem, judgments, options, values } = reference();
    let fitted = problem.fit(&options, &mut ()).expect("a fit");
    let expected = values["objective"].as_f64().expect("a number");
    assert!((fitted.report.objective / expected - 1.0).abs() < 1e-9, "{:?} {expected}", fitted.report);
    let own = objective(&judgments, &fitted.users, &fitted.pairs, &options);
    assert!((fitted.report.objective - own).abs() < 1e-9 * own, "{own}");
    for user in 0..fitted.users.nrows() {
        for pair in 0..fitted.pairs.nrows() {
            let expected = values["logits"][user][pair].as_f64().expect("a number");
            let z = fitted.logit(user, pair);
            assert!((z - expected).abs() < 1e-4, "({user}, {pair}): {z} {expected}");
        }
    }
}

/// In the basis found αUᵀU = βVᵀV = √(αβ) times the singular values of UVᵀ.
#[test]
fn the_basis_is_balanced_and_ordered() {
    let Reference { problem, options, values, .. } = reference();
    let fitted = problem.fit(&options, &mut ()).expect("a fit");
    let (of_users, of_pairs) = (
        fitted.users.transpose() * &fitted.users * options.user_ridge,
        fitted.pairs.transpose() * &fitted.pairs * options.pair_ridge,
    );
    let scale = (options.user_ridge * options.pair_ridge).sqrt();
    for k in 0..options.factors {
        let expected = scale * values["singular_values"][k].as_f64().expect("a number");
        for (l, entry) in of_users.row(k).iter().enumerate() {
            let expected = if l == k { expected } else { 0.0 };
            assert!((entry - expected).abs() < 1e-3, "({k}, {l}): {entry} {expected}");
            assert!(
                (of_pairs[(k, l)] - expected).abs() < 1e-3,
                "({k}, {l}): {} {expected}",
                of_pairs[(k, l)]
            );
        }
    }
}

#[test]
fn the_reported_gradient_agrees_with_finite_differences() {
    let Reference { problem, judgments, mut options, .. } = reference();
    options.sweeps = 0;
    let started = problem.fit(&options, &mut ()).expect("a start");
    let f = |u: &DMatrix<f64>, v: &DMatrix<f64>| objective(&judgments, u, v, &options);
    let step = 1e-5;
    let mut largest = 0.0_f64;
    for (rows, of_users) in [(started.users.nrows(), true), (started.pairs.nrows(), false)] {
        for row in 0..rows {
            for k in 0..options.factors {
                let at = |by: f64| {
                    let (mut u, mut v) = (started.users.clone(), started.pairs.clone());
                    (if of_users { &mut u } else { &mut v })[(row, k)] += by;
                    f(&u, &v)
                };
                largest = largest.max(((at(step) - at(-step)) / (2.0 * step)).abs());
            }
        }
    }
    assert!(largest > 1.0, "the start is not the minimum: {largest}");
    let reported = started.report.gradient_norm;
    assert!((reported / largest - 1.0).abs() < 1e-5, "{reported} {largest}");
}

#[test]
fn no_sweep_raises_the_objective() {
    for (seed, ridge) in [(0, 0.01), (1, 1.0), (2, 30.0)] {
        let judgments = sample(seed);
        let mut last = f64::INFINITY;
        for sweeps in 0..12 {
            let options = PairOptions {
                factors: 5,
                user_ridge: ridge,
                pair_ridge: ridge,
                sweeps,
                tolerance: 0.0,
                seed,
            };
            let objective = fit(&judgments, &options).report.objective;
            assert!(objective <= last * (1.0 + 1e-9), "ridge {ridge}, sweep {sweeps}: {last} to {objective}");
            last = objective;
        }
    }
}

#[test]
fn threads_change_nothing() {
    let judgments = sample(3);
    let options = PairOptions { factors: 10, sweeps: 6, ..PairOptions::default() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| fit(&judgments, &options))
    };
    let (one, three) = (with(1), with(3));
    assert_eq!(one.users, three.users);
    assert_eq!(one.pairs, three.pairs);
    assert_eq!(one.report, three.report);
}

#[test]
fn judgments_in_another_order_predict_the_same() {
    let judgments = sample(4);
    let options = PairOptions { factors: 3, tolerance: 1e-12, ..PairOptions::default() };
    let reversed: Vec<PairJudgment> = judgments.iter().rev().copied().collect();
    let (one, other) = (fit(&judgments, &options), fit(&reversed, &options));
    assert_eq!(one.report.termination, Termination::Converged);
    assert!((one.users * one.pairs.transpose() - other.users * other.pairs.transpose()).amax() < 1e-2);
}

#[test]
fn a_repeated_judgment_is_one_of_twice_the_weight_and_a_tie_is_half_of_each() {
    let judgments = sample(5);
    let options = PairOptions { factors: 4, sweeps: 8, tolerance: 0.0, ..PairOptions::default() };
    let twice: Vec<PairJudgment> = judgments.iter().map(|j| PairJudgment { weight: 2.0, ..*j }).collect();
    let repeated = [&judgments[..], &judgments[..]].concat();
    let (a, b) = (fit(&twice, &options).report.objective, fit(&repeated, &options).report.objective);
    assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
    let ties: Vec<PairJudgment> = judgments.iter().map(|j| PairJudgment { preference: 0.5, ..*j }).collect();
    let tied = fit(&ties, &options);
    assert!((tied.report.objective - 9_000.0 * std::f64::consts::LN_2).abs() < 1e-6);
    assert_eq!(tied.users.amax(), 0.0);
}

/// Everybody wants the first of every pair: the logits are as large as the ridges let them.
#[test]
fn one_sided_judgments_stay_finite() {
    let judgments: Vec<PairJudgment> =
        sample(6).iter().map(|j| PairJudgment { preference: 1.0, ..*j }).collect();
    let options = PairOptions { user_ridge: 1e-6, pair_ridge: 1e-6, sweeps: 30, ..PairOptions::default() };
    let fitted = fit(&judgments, &options);
    assert!(fitted.users.iter().chain(fitted.pairs.iter()).all(|x| x.is_finite()));
    assert!(judgments.iter().all(|j| fitted.logit(j.user as usize, j.pair as usize) > 5.0));
    assert!(fitted.mean_loss(&judgments) < 1e-3);
}

#[test]
fn those_without_judgments_have_no_factors() {
    let problem = PairProblem::new(&sample(7), 310, 205).expect("valid");
    let fitted = problem.fit(&PairOptions { sweeps: 5, ..PairOptions::default() }, &mut ()).expect("a fit");
    assert_eq!(fitted.users.rows(300, 10).amax(), 0.0);
    assert_eq!(fitted.pairs.rows(200, 5).amax(), 0.0);
}

#[test]
fn what_is_not_allowed_is_named() {
    let judgment = PairJudgment { user: 0, pair: 1, preference: 1.0, weight: 1.0 };
    let error =
        |judgments: &[PairJudgment]| PairProblem::new(judgments, 1, 2).expect_err("refused").to_string();
    assert_eq!(error(&[]), "the list of judgments is empty");
    assert_eq!(
        error(&[judgment, PairJudgment { pair: 2, ..judgment }]),
        "the pair of judgment 1 is 2, but there are only 2"
    );
    assert_eq!(
        error(&[PairJudgment { preference: 1.5, ..judgment }]),
        "the preference of judgment 0 is 1.5; allowed is [0, 1]"
    );
    assert_eq!(
        error(&[PairJudgment { weight: f32::INFINITY, ..judgment }]),
        "the weight of judgment 0 is inf; allowed is [0, ∞)"
    );
    let problem = PairProblem::new(&[judgment], 1, 2).expect("valid");
    let refused = |options: PairOptions| problem.fit(&options, &mut ()).expect_err("refused").to_string();
    assert_eq!(
        refused(PairOptions { factors: 33, ..PairOptions::default() }),
        "the number of factors is 33; allowed is 1 to 32"
    );
    assert_eq!(
        refused(PairOptions { pair_ridge: 0.0, ..PairOptions::default() }),
        "the ridge on pairs' factors is 0; allowed is (0, ∞)"
    );
}
