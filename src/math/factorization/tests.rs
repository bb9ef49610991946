use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::math::logistic::sigmoid;
use crate::math::metrics;

const TEXTS: usize = 60;
const USERS: usize = 24;
const DIMENSION: usize = 6;

struct Sample {
    embeddings: DMatrix<f64>,
    train: Vec<Observation>,
    validation: Vec<Observation>,
}

impl Sample {
    fn problem(&self) -> Problem {
        let Self { embeddings, train, .. } = self;
        Problem::new(&Comparisons { embeddings, observations: train, users: USERS, style: None })
            .expect("valid")
    }
}

/// People who differ in two of six coordinates and agree on a third.
fn sample(per_user: usize, seed: u64) -> Sample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let embeddings = DMatrix::from_fn(TEXTS, DIMENSION, |_, _| 4.0 * rng.random::<f64>() - 2.0);
    let tastes = DMatrix::from_fn(USERS, DIMENSION, |user, k| match k {
        0 => {
            if user % 2 == 0 {
                1.5
            } else {
                -1.5
            }
        }
        1 => {
            if user % 4 < 2 {
                1.5
            } else {
                -1.5
            }
        }
        2 => 1.0,
        _ => 0.0,
    });
    let mut judge = |texts: std::ops::Range<usize>, count: usize| {
        let mut observations = Vec::new();
        for user in 0..USERS {
            for _ in 0..count {
                let first = rng.random_range(texts.clone());
                let second = rng.random_range(texts.clone());
                let z = (tastes.row(user) * (embeddings.row(first) - embeddings.row(second)).transpose())[0];
                let preference = if rng.random::<f64>() < sigmoid(z) { 1.0 } else { 0.0 };
                observations.push(Observation { user, first, second, preference, weight: 1.0 });
            }
        }
        observations
    };
    let train = judge(0..16, per_user);
    let validation = judge(16..TEXTS, 20);
    Sample { embeddings, train, validation }
}

fn settings(base_functions: usize) -> Hyperparameters {
    Hyperparameters {
        base_functions,
        gamma: 0.1,
        alpha: 1.0,
        kappa: 1.0,
        threshold: 0.1,
        tie_weight: 0.25,
        ridge: None,
        mean_scale: 1.0,
        beyond_scale: 1.0,
        spread_scale: 1.0,
    }
}

fn fit(embeddings: &DMatrix<f64>, observations: &[Observation], base_functions: usize) -> Factorization {
    let style: Vec<f64> = embeddings.column(0).iter().copied().collect();
    let comparisons = Comparisons { embeddings, observations, users: USERS, style: Some(&style) };
    let problem = Problem::new(&comparisons).expect("valid");
    problem.fit(&settings(base_functions), &Config::default(), &mut ()).expect("valid")
}

/// r_i of every user for every text, less the user's mean.
fn rewards(factorization: &Factorization, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
    let mut rewards = &factorization.coefficients * factorization.features(embeddings).transpose();
    for mut row in rewards.row_iter_mut() {
        let mean = row.mean();
        row.add_scalar_mut(-mean);
    }
    rewards
}

fn held_out_auc(sample: &Sample, reward: impl Fn(&Observation) -> f64) -> f64 {
    let margins: Vec<f64> = sample
        .validation
        .iter()
        .filter(|o| o.first != o.second)
        .map(|o| (2.0 * o.preference - 1.0) * reward(o))
        .collect();
    metrics::auc(&margins).expect("comparisons")
}

#[test]
fn what_people_differ_on_is_found_and_one_shared_reward_misses_it() {
    let sample = sample(60, 1);
    let problem = sample.problem();
    let config = Config { base_functions: Some(3), ..Config::default() };
    let cuts = [Cut::new(problem, &sample.validation).expect("valid")];
    let tuned = tune(&cuts, &config, &mut ()).expect("valid");
    let classic = tune_classic(&cuts, &mut ()).expect("valid");
    assert_eq!(tuned.factorization.start, Start::SoftImpute);
    assert!(tuned.trials.iter().all(|t| t.log_likelihood.is_finite()));
    let rewards = rewards(&tuned.factorization, &sample.embeddings);
    let personal = held_out_auc(&sample, |o| rewards[(o.user, o.first)] - rewards[(o.user, o.second)]);
    let shared = &sample.embeddings * &classic.weights;
    let classic = held_out_auc(&sample, |o| shared[o.first] - shared[o.second]);
    assert!(personal > classic + 0.15, "{personal} {classic}");
    // Two directions of disagreement; the third base function carries what is shared.
    let d = tuned.factorization.prior.covariance().diagonal();
    assert!(d[1] > 4.0 * d[2], "{d}");
}

#[test]
fn the_basis_is_canonical() {
    let sample = sample(60, 2);
    let fitted = fit(&sample.embeddings, &sample.train, 3);
    let mut pairs: Vec<_> =
        sample.train.iter().map(|o| (o.first.min(o.second), o.first.max(o.second))).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.retain(|(a, b)| a != b);
    let phi = fitted.features(&sample.embeddings);
    let mut moment = DMatrix::zeros(3, 3);
    let mut along_style = DVector::zeros(3);
    for &(a, b) in &pairs {
        let delta = (phi.row(a) - phi.row(b)).transpose();
        moment += &delta * delta.transpose() / pairs.len() as f64;
        along_style += delta * (sample.embeddings[(a, 0)] - sample.embeddings[(b, 0)]);
    }
    assert!((moment - DMatrix::identity(3, 3)).amax() < 1e-9);
    assert!(along_style.iter().all(|c| *c > 0.0));
    let covariance = fitted.prior.covariance();
    assert_eq!(*covariance, DMatrix::from_diagonal(&covariance.diagonal()));
    assert!((1..3).all(|j| covariance[(j, j)] <= covariance[(j - 1, j - 1)]));
}

/// Which answer was called A, and the order of lines, are not part of the data.
#[test]
fn turned_and_permuted_lines_give_the_same_predictions() {
    let sample = sample(60, 3);
    let here = rewards(&fit(&sample.embeddings, &sample.train, 3), &sample.embeddings);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut lines = sample.train.clone();
    for at in (1..lines.len()).rev() {
        lines.swap(at, rng.random_range(0..=at));
    }
    for o in lines.iter_mut().filter(|_| rng.random::<bool>()) {
        *o = Observation { first: o.second, second: o.first, preference: 1.0 - o.preference, ..*o };
    }
    let there = rewards(&fit(&sample.embeddings, &lines, 3), &sample.embeddings);
    assert!((here - there).amax() < 1e-6);
}

/// Users and lines in another order, and a start of its own: predictions agree, and so do the subspaces of base
/// functions whose eigenvalues cannot be told apart.
#[test]
fn trainings_that_begin_elsewhere_agree_in_predictions_and_in_block_subspaces() {
    let sample = sample(60, 3);
    let last = USERS - 1;
    let renamed: Vec<Observation> =
        sample.train.iter().rev().map(|o| Observation { user: last - o.user, ..*o }).collect();
    let fit = |observations: &[Observation], seed: u64| {
        let comparisons =
            Comparisons { embeddings: &sample.embeddings, observations, users: USERS, style: None };
        let config = Config { seed, ..Config::default() };
        Problem::new(&comparisons).and_then(|p| p.fit(&settings(3), &config, &mut ())).expect("valid")
    };
    let (here, there) = (fit(&sample.train, 0), fit(&renamed, 1));
    let (mine, theirs) = (rewards(&here, &sample.embeddings), rewards(&there, &sample.embeddings));
    for user in 0..USERS {
        assert!((mine.row(user) - theirs.row(last - user)).amax() < 0.02 * mine.row(user).amax());
    }
    let (mine, theirs) = (here.features(&sample.embeddings), there.features(&sample.embeddings));
    let mut moment = DMatrix::zeros(3, 3);
    let mut pairs: Vec<_> =
        sample.train.iter().map(|o| (o.first.min(o.second), o.first.max(o.second))).collect();
    pairs.sort_unstable();
    pairs.dedup();
    for &(a, b) in &pairs {
        moment += (mine.row(a) - mine.row(b)).transpose() * (theirs.row(a) - theirs.row(b));
    }
    moment /= pairs.iter().filter(|(a, b)| a != b).count() as f64;
    let blocks = blocks(&here.prior.covariance().diagonal());
    assert!(blocks.len() > 1, "{blocks:?}");
    for block in blocks {
        // Cosines of the angles between the two subspaces.
        let part = moment.view((block.start, block.start), (block.len(), block.len())).into_owned();
        assert!(part.singular_values().iter().all(|cosine| *cosine > 0.99), "{block:?}: {moment}");
    }
}

/// Neighbouring eigenvalues that differ by less than two standard errors, D √(2 / users), are in one block.
fn blocks(eigenvalues: &DVector<f64>) -> Vec<std::ops::Range<usize>> {
    let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
    for j in 0..eigenvalues.len() {
        let error = |above: f64| above * (2.0 / USERS as f64).sqrt();
        match blocks.last_mut() {
            Some(block) if eigenvalues[j - 1] - eigenvalues[j] <= 2.0 * error(eigenvalues[j - 1]) => {
                block.end = j + 1;
            }
            _ => blocks.push(j..j + 1),
        }
    }
    blocks
}

#[test]
fn the_number_of_base_functions_is_found_from_the_spectrum_and_held_out_judgments() {
    let sample = sample(60, 12);
    let problem = sample.problem();
    let cuts = [Cut::new(problem, &sample.validation).expect("valid")];
    let tune = |base_functions| {
        let config = Config { base_functions, ..Config::default() };
        super::tune(&cuts, &config, &mut ()).expect("valid")
    };
    let best = |tuned: &Tuned| {
        tuned.trials.iter().map(|trial| trial.log_likelihood).fold(f64::NEG_INFINITY, f64::max)
    };
    // People differ in two coordinates of six and share a third.
    let (auto, one, three) = (tune(None), tune(Some(1)), tune(Some(3)));
    assert!((2..DIMENSION).contains(&auto.factorization.head.nrows()), "{}", auto.factorization.head.nrows());
    assert!(best(&auto) > best(&one) + 0.02, "{} {}", best(&auto), best(&one));
    assert!(best(&auto) > best(&three) - 0.005, "{} {}", best(&auto), best(&three));
    let tried: std::collections::BTreeSet<usize> =
        auto.trials.iter().map(|trial| trial.hyperparameters.base_functions).collect();
    assert!(tried.len() > 1, "the elbow was not checked: {tried:?}");
}

#[test]
fn repeats_and_one_judgment_of_their_weight_are_the_same() {
    let sample = sample(30, 4);
    let repeated: Vec<Observation> = sample.train.iter().flat_map(|o| [*o, *o]).collect();
    let heavy: Vec<Observation> = sample.train.iter().map(|o| Observation { weight: 2.0, ..*o }).collect();
    let twice = rewards(&fit(&sample.embeddings, &repeated, 3), &sample.embeddings);
    let once = rewards(&fit(&sample.embeddings, &heavy, 3), &sample.embeddings);
    assert!((twice - once).amax() < 1e-9);
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let sample = sample(60, 5);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let fitted = fit(&sample.embeddings, &sample.train, 3);
            let newcomers = Newcomers::new(&fitted, &sample.embeddings, &sample.validation);
            (fitted, calibrate(&[newcomers]).expect("valid"))
        })
    };
    let ((one, scales_one), (three, scales_three)) = (with(1), with(3));
    assert_eq!(scales_one, scales_three);
    assert_eq!(one.head, three.head);
    assert_eq!(one.coefficients, three.coefficients);
}

#[test]
fn neither_the_scale_nor_the_origin_of_embeddings_matters() {
    let sample = sample(60, 6);
    let scaled = sample.embeddings.map(|h| 1e3 * h + 5.0);
    let here = rewards(&fit(&sample.embeddings, &sample.train, 3), &sample.embeddings);
    let there = rewards(&fit(&scaled, &sample.train, 3), &scaled);
    assert!((here - there).amax() < 1e-5);
}

#[test]
fn features_of_very_different_scales_are_all_learned_from() {
    let sample = sample(60, 6);
    // From 1 to 100; what people differ on is the smallest.
    let uneven =
        DMatrix::from_fn(TEXTS, DIMENSION, |t, k| sample.embeddings[(t, k)] * 10.0_f64.powf(k as f64 / 2.5));
    let even = rewards(&fit(&sample.embeddings, &sample.train, 3), &sample.embeddings);
    let uneven = rewards(&fit(&uneven, &sample.train, 3), &uneven);
    let personal = |rewards: &DMatrix<f64>| {
        held_out_auc(&sample, |o| rewards[(o.user, o.first)] - rewards[(o.user, o.second)])
    };
    assert!(personal(&uneven) > personal(&even) - 0.05, "{} {}", personal(&uneven), personal(&even));
}

#[test]
fn more_base_functions_than_the_embeddings_have_dimensions_shrink() {
    let sample = sample(60, 7);
    // Three dimensions, one of them a copy and one constant.
    let flat = DMatrix::from_fn(TEXTS, 4, |t, k| if k == 3 { 7.0 } else { sample.embeddings[(t, k.min(1))] });
    let fitted = fit(&flat, &sample.train, 4);
    assert_eq!(fitted.head.shape(), (2, 4));
    assert_eq!(fitted.coefficients.shape(), (USERS, 2));
    assert!(fitted.head.iter().all(|w| w.is_finite()));
}

#[test]
fn pairs_with_one_rater_start_from_user_gradients() {
    let sample = sample(60, 8);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // A text of its own for every judgment: no pair has two raters.
    let texts = USERS * 80;
    let embeddings = DMatrix::from_fn(texts, DIMENSION, |_, _| 4.0 * rng.random::<f64>() - 2.0);
    let mut train = Vec::new();
    for user in 0..USERS {
        for n in 0..40 {
            let first = (user * 40 + n) * 2;
            let like = if user % 2 == 0 { 1.5 } else { -1.5 };
            let z = like * (embeddings[(first, 0)] - embeddings[(first + 1, 0)]);
            let preference = if rng.random::<f64>() < sigmoid(z) { 1.0 } else { 0.0 };
            train.push(Observation { user, first, second: first + 1, preference, weight: 1.0 });
        }
    }
    let fitted = fit(&embeddings, &train, 2);
    assert_eq!(fitted.start, Start::UserGradients);
    let rewards = rewards(&fitted, &sample.embeddings);
    let mut agreement = 0;
    for user in 0..USERS {
        let along: f64 = (0..TEXTS).map(|t| rewards[(user, t)] * sample.embeddings[(t, 0)]).sum();
        agreement += usize::from((along > 0.0) == (user % 2 == 0));
    }
    assert!(agreement > 22, "{agreement} of {USERS}");
}

#[test]
fn one_sided_tied_and_single_judgments_stay_finite() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let embeddings = DMatrix::from_fn(TEXTS, DIMENSION, |_, _| rng.random::<f64>());
    let line = |user, first, second, preference| Observation { user, first, second, preference, weight: 1.0 };
    let one_sided: Vec<_> = (0..USERS).flat_map(|u| (0..9).map(move |n| line(u, n, n + 1, 1.0))).collect();
    let mut tied: Vec<_> = (0..USERS).flat_map(|u| (0..9).map(move |n| line(u, n, n + 1, 0.5))).collect();
    tied.push(line(0, 0, 9, 1.0));
    let single = vec![line(3, 0, 1, 0.0)];
    for observations in [one_sided, tied, single] {
        let fitted = fit(&embeddings, &observations, 3);
        assert!(fitted.head.iter().chain(fitted.coefficients.iter()).all(|x| x.is_finite()));
        assert!(fitted.report.objective.is_finite());
    }
}

#[test]
fn every_round_is_reported_and_none_climbs() {
    struct Record(Vec<f64>);
    impl Observer for Record {
        fn progress(&mut self, progress: Progress) {
            self.0.extend(progress.objective);
        }
    }
    let sample = sample(60, 10);
    let mut record = Record(Vec::new());
    let problem = sample.problem();
    let fitted = problem.fit(&settings(3), &Config::default(), &mut record).expect("valid");
    assert_eq!(fitted.report.termination, crate::math::Termination::Converged);
    let kept = &record.0[EXPANSIONS..=fitted.report.iterations];
    assert!(kept.windows(2).all(|w| w[1] <= w[0]), "{kept:?}");
    assert_eq!(kept.last(), Some(&fitted.report.objective));
}

#[test]
fn the_prior_is_scaled_as_told() {
    let sample = sample(30, 9);
    let problem = sample.problem();
    let fit = |beyond, mean_scale, spread_scale| {
        let h = Hyperparameters {
            ridge: Some(10.0),
            beyond_scale: beyond,
            mean_scale,
            spread_scale,
            ..settings(3)
        };
        problem.fit(&h, &Config::default(), &mut ())
    };
    let kept = fit(1.0, 1.0, 1.0).expect("valid");
    let shared = kept.shared.as_ref().expect("a ridge was given");
    let apart = |prior: &Prior, mean: &DVector<f64>| (prior.mean() - mean).amax() / mean.amax();
    assert!(apart(&kept.prior, shared) > 0.01, "{} {shared}", kept.prior.mean());
    let none = fit(0.0, 1.0, 1.0).expect("valid");
    assert!(apart(&none.prior, shared) < 1e-9, "{} {shared}", none.prior.mean());
    let classic = problem.classic(10.0).expect("valid").weights.normalize();
    let average = (none.head.transpose() * none.prior.mean()).normalize();
    assert!((&average - &classic).amax() < 1e-9, "{average} {classic}");
    let half = fit(0.5, 0.8, 1.0).expect("valid");
    assert!(apart(&half.prior, &((kept.prior.mean() + shared) * 0.4)) < 1e-9, "{}", half.prior.mean());
    let narrow = fit(1.0, 1.0, 0.25).expect("valid");
    assert!(
        (narrow.prior.covariance() - kept.prior.covariance() * 0.25).amax() < 1e-9,
        "{}",
        narrow.prior.covariance()
    );
    let refused = fit(1.5, 1.0, 1.0).unwrap_err().to_string();
    assert_eq!(refused, "the scale of the prior's mean beyond the shared reward is 1.5; allowed is [0, 1]");
}

#[test]
fn bad_comparisons_are_named() {
    let embeddings = DMatrix::from_fn(3, 2, |t, k| (t * 2 + k) as f64);
    let good = Observation { user: 0, first: 0, second: 1, preference: 1.0, weight: 1.0 };
    let message = |embeddings: &DMatrix<f64>, o: Observation, users: usize| {
        let observations = [good, o];
        Problem::new(&Comparisons { embeddings, observations: &observations, users, style: None })
            .unwrap_err()
            .to_string()
    };
    let bad = |o| message(&embeddings, o, 2);
    assert_eq!(bad(Observation { user: 2, ..good }), "the user of observation 1 is 2, but there are only 2");
    assert_eq!(
        bad(Observation { second: 7, ..good }),
        "the second text of observation 1 is 7, but there are only 3"
    );
    assert_eq!(
        bad(Observation { preference: -0.1, ..good }),
        "the preference of observation 1 is -0.1; allowed is [0, 1]"
    );
    assert_eq!(
        bad(Observation { weight: f64::NAN, ..good }),
        "the weight of observation 1 is NaN; allowed is [0, ∞)"
    );
    let mut broken = embeddings.clone();
    broken[(2, 1)] = f64::INFINITY;
    assert_eq!(message(&broken, good, 2), "embedding[2, 1] is inf; only finite numbers are allowed");
    assert_eq!(message(&embeddings, good, 0), "the list of users is empty");
    let same = [Observation { second: 0, ..good }];
    let comparisons = Comparisons { embeddings: &embeddings, observations: &same, users: 1, style: None };
    assert_eq!(
        Problem::new(&comparisons).unwrap_err().to_string(),
        "the list of comparisons between different texts is empty"
    );
    let ties = [Observation { preference: 0.5, ..good }];
    let comparisons = Comparisons { embeddings: &embeddings, observations: &ties, users: 1, style: None };
    assert_eq!(
        Problem::new(&comparisons).unwrap_err().to_string(),
        "the list of decided comparisons is empty"
    );
    let nothing = DMatrix::zeros(3, 0);
    assert_eq!(message(&nothing, good, 1), "what the embeddings hold is empty");
    let constant = DMatrix::repeat(3, 2, 1.0);
    assert_eq!(message(&constant, good, 1), "what the embeddings of compared texts differ in is empty");
}
