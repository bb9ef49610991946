use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::math::{Evidence, Prior};

const ALL: [Acquisition; 4] =
    [Acquisition::InformationGain, Acquisition::DOptimal, Acquisition::Uncertainty, Acquisition::Random];

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn pool(prompts: usize, responses: usize, seed: u64) -> Pool {
    let mut rng = rng(seed);
    let groups: Vec<Vec<DVector<f64>>> = (0..prompts)
        .map(|_| {
            (0..responses).map(|_| DVector::from_fn(3, |_, _| 4.0 * rng.random::<f64>() - 2.0)).collect()
        })
        .collect();
    Pool::new(&groups).expect("valid")
}

fn posterior() -> Posterior {
    let prior = Prior::new(
        DVector::from_vec(vec![0.5, 0.0, -1.0]),
        DMatrix::from_diagonal(&DVector::from_vec(vec![3.0, 1.0, 0.2])),
    );
    let answers = [[1.0, 0.0, 0.5], [0.2, -1.0, 0.0]].map(|delta| Evidence {
        delta: DVector::from_column_slice(&delta),
        preference: 1.0,
        weight: 1.0,
    });
    Posterior::fit(&answers, &prior.expect("valid")).expect("finite")
}

fn ask(
    pool: &Pool,
    acquisition: Acquisition,
    count: usize,
    seen: &Seen,
    open: &[DVector<f64>],
    seed: u64,
) -> Selection {
    choose(pool, &posterior(), &Request { acquisition, count, seen, open }, &mut rng(seed)).expect("valid")
}

#[test]
fn the_best_pair_of_all_is_chosen() {
    let pool = pool(9, 5, 1);
    let posterior = posterior();
    for acquisition in [Acquisition::InformationGain, Acquisition::DOptimal, Acquisition::Uncertainty] {
        let chosen = ask(&pool, acquisition, 1, &Seen::default(), &[], 0).questions[0];
        let mut best = f64::MIN;
        for prompt in 0..9 {
            for i in 0..5 {
                for j in i + 1..5 {
                    let delta = pool.delta(prompt, i, j);
                    let (z, v) =
                        (posterior.coefficients().dot(&delta), delta.dot(&(posterior.covariance() * &delta)));
                    best = best.max(match acquisition {
                        Acquisition::InformationGain => information_gain(z, v).0,
                        Acquisition::DOptimal => 0.5 * (1.0 + sigmoid_derivative(z) * v).log2(),
                        _ => v,
                    });
                }
            }
        }
        assert!((chosen.score - best).abs() < 1e-9, "{acquisition:?}: {} {best}", chosen.score);
    }
}

#[test]
fn every_pair_is_asked_once_and_every_prompt_before_any_twice() {
    let pool = pool(4, 3, 2);
    for acquisition in ALL {
        let selection = ask(&pool, acquisition, 20, &Seen::default(), &[], 3);
        assert_eq!(selection.questions.len(), 12, "{acquisition:?}");
        let mut seen = Seen::default();
        for (n, q) in selection.questions.iter().enumerate() {
            assert!(!seen.contains(q.prompt, q.first, q.second), "{acquisition:?}");
            assert!(n >= 4 || !seen.prompts.contains(&q.prompt), "{acquisition:?}: question {n}");
            seen.insert(q.prompt, q.second, q.first);
        }
        let none = ask(&pool, acquisition, 1, &seen, &[], 3);
        assert!(none.questions.is_empty() && none.converged() && none.largest_gain == 0.0);
    }
}

#[test]
fn which_response_is_first_is_drawn_and_the_prediction_follows() {
    let pool = pool(3, 2, 5);
    let mut orders = HashSet::new();
    for seed in 0..20 {
        let q = ask(&pool, Acquisition::InformationGain, 1, &Seen::default(), &[], seed).questions[0];
        let (z, v) = posterior().logit(&pool.delta(q.prompt, q.first, q.second));
        assert!((q.predicted - information_gain(z, v).1).abs() < 1e-9);
        orders.insert(q.first < q.second);
    }
    assert_eq!(orders.len(), 2);
}

#[test]
fn an_open_question_makes_its_like_worth_less() {
    let delta = DVector::from_vec(vec![2.0, 0.0, 0.0]);
    let groups =
        [[delta.clone(), DVector::zeros(3)], [DVector::from_vec(vec![0.0, 1.9, 0.0]), DVector::zeros(3)]];
    let pool = Pool::new(&groups).expect("valid");
    let posterior = Posterior::of_prior(&Prior::isotropic(3, 1.0).expect("valid"));
    let ask = |open: &[DVector<f64>]| {
        let request = Request { acquisition: Acquisition::DOptimal, count: 1, seen: &Seen::default(), open };
        choose(&pool, &posterior, &request, &mut rng(0)).expect("valid")
    };
    let (fresh, after) = (ask(&[]), ask(&[delta.clone(), delta]));
    assert_eq!((fresh.questions[0].prompt, after.questions[0].prompt), (0, 1));
    assert!(after.largest_gain < fresh.largest_gain);
}

#[test]
fn random_asks_every_pair_equally_often() {
    let pool = pool(2, 3, 1);
    let mut counts = std::collections::HashMap::new();
    for seed in 0..1200 {
        let q = ask(&pool, Acquisition::Random, 1, &Seen::default(), &[], seed).questions[0];
        *counts.entry((q.prompt, q.first.min(q.second), q.first.max(q.second))).or_insert(0_i32) += 1;
    }
    // 200 expected of each of six, standard deviation 13.
    assert!(counts.len() == 6 && counts.values().all(|n| (n - 200).abs() < 65), "{counts:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let mixed = Pool::new(&[vec![DVector::zeros(3), DVector::zeros(2)]]).unwrap_err();
    assert_eq!(mixed.to_string(), "the features of response 1 of prompt 0 has length 2, not 3");
    let nan = Pool::new(&[vec![DVector::from_vec(vec![f64::NAN])]]).unwrap_err();
    assert_eq!(
        nan.to_string(),
        "feature[0] of response 0 of prompt 0 is NaN; only finite numbers are allowed"
    );
    let other = Pool::new(&[vec![DVector::zeros(2); 2]]).expect("valid");
    let seen = Seen::default();
    let request = Request { acquisition: Acquisition::Random, count: 1, seen: &seen, open: &[] };
    let refused = choose(&other, &posterior(), &request, &mut rng(0)).unwrap_err();
    assert_eq!(refused.to_string(), "a pool's feature has length 2, not 3");
}

#[test]
fn any_j_up_to_the_largest_is_scanned_alike() {
    let mut rng = rng(5);
    for n in [1, 7, 8, 9, 17, 40, MAX_BASE_FUNCTIONS] {
        let mut responses = |count: usize| -> Vec<DVector<f64>> {
            (0..count).map(|_| DVector::from_fn(n, |_, _| 2.0 * rng.random::<f64>() - 1.0)).collect()
        };
        let prompts: Vec<_> = (0..40).map(|_| responses(3)).collect();
        let pool = Pool::new(&prompts).expect("valid");
        let posterior = Posterior::of_prior(&Prior::isotropic(n, 2.0).expect("valid"));
        let acquisition = Acquisition::Uncertainty;
        let request = Request { acquisition, count: 1, seen: &Seen::default(), open: &[] };
        let chosen = choose(&pool, &posterior, &request, &mut rng).expect("valid").questions[0];
        let worth = |prompt, i, j| posterior.logit(&pool.delta(prompt, i, j)).1;
        let best = (0..40)
            .flat_map(|prompt| [(0, 1), (0, 2), (1, 2)].map(|(i, j)| worth(prompt, i, j)))
            .fold(0.0, f64::max);
        assert!((chosen.score - best).abs() < 1e-12, "J = {n}: {} {best}", chosen.score);
    }
    let n = MAX_BASE_FUNCTIONS + 1;
    let pool = Pool::new(&[vec![DVector::zeros(n), DVector::zeros(n)]]).expect("valid");
    let request = Request { acquisition: Acquisition::Random, count: 1, seen: &Seen::default(), open: &[] };
    let prior = Prior::isotropic(n, 1.0).expect("valid");
    assert!(choose(&pool, &Posterior::of_prior(&prior), &request, &mut rng).is_err());
}
