use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::math::metrics::auc;

const REFERENCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/known_phi.json"));

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn matrix(value: &Value) -> DMatrix<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().expect("rows").iter().map(numbers).collect();
    DMatrix::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

fn answer(delta: &[f64], preference: f64) -> Evidence {
    Evidence { delta: DVector::from_column_slice(delta), preference, weight: 1.0 }
}

fn unit_prior(dimension: usize) -> Prior {
    Prior::isotropic(dimension, 1.0).expect("valid")
}

/// `tests/reference/known_phi.py`
#[test]
fn meets_the_known_phi_study() {
    let reference: Value = serde_json::from_str(REFERENCE).expect("JSON");
    let prior = Prior::new(DVector::from_vec(numbers(&reference["mean"])), matrix(&reference["covariance"]))
        .expect("valid");
    for person in reference["people"].as_array().expect("people") {
        let (deltas, preferences) = (matrix(&person["delta"]), numbers(&person["preference"]));
        let evidence: Vec<Evidence> = deltas
            .row_iter()
            .zip(&preferences)
            .map(|(delta, &preference)| Evidence { delta: delta.transpose(), preference, weight: 1.0 })
            .collect();
        let posterior = Posterior::fit(&evidence, &prior).expect("finite");
        assert_eq!(posterior.report().termination, Termination::Converged);
        let expected = DVector::from_vec(numbers(&person["coefficients"]));
        assert!((posterior.coefficients() - expected).amax() < 1e-6);
        assert!((posterior.hessian() - matrix(&person["hessian"])).amax() < 1e-6);
        let outcomes = numbers(&person["outcomes"]);
        let logits = matrix(&person["test"]) * posterior.coefficients();
        let margins: Vec<f64> =
            logits.iter().zip(&outcomes).map(|(z, a)| if *a > 0.0 { *z } else { -z }).collect();
        assert!(
            (auc(&margins).expect("comparisons") - person["auc"].as_f64().expect("a number")).abs() < 1e-9
        );
    }
}

#[test]
fn no_answers_leave_the_prior() {
    let prior =
        Prior::new(DVector::from_vec(vec![0.5, -1.0]), DMatrix::from_row_slice(2, 2, &[2.0, 0.5, 0.5, 1.0]))
            .expect("valid");
    let fitted = Posterior::fit(&[], &prior).expect("finite");
    assert_eq!(fitted.coefficients(), Posterior::of_prior(&prior).coefficients());
    assert_eq!(fitted.hessian(), prior.precision());
    assert!((fitted.remaining_uncertainty(&prior) - 1.0).abs() < 1e-12);
    assert!((fitted.standard_errors()[1] - 1.0).abs() < 1e-12);
}

/// Every input that a maximum of the likelihood alone does not survive.
#[test]
fn one_sided_separable_tied_contradictory_repeated_zero_and_huge_answers_stay_finite() {
    let one = [1.0, -0.5, 0.25];
    let cases: Vec<(&str, Vec<Evidence>)> = vec![
        ("one-sided", vec![answer(&one, 1.0); 50]),
        (
            "separable",
            vec![
                answer(&[2.0, 0.0, 0.0], 1.0),
                answer(&[-3.0, 0.1, 0.0], 0.0),
                answer(&[0.0, 1.0, 1.0], 1.0),
            ],
        ),
        ("tied", vec![answer(&one, 0.5); 20]),
        ("contradictory", vec![answer(&one, 1.0), answer(&one, 0.0)]),
        ("repeated", vec![answer(&one, 1.0); 1000]),
        ("zero", vec![answer(&[0.0; 3], 1.0), answer(&[0.0; 3], 0.0)]),
        ("huge", vec![answer(&[1e8, -1e8, 1e7], 1.0), answer(&[1e8, 1e8, 1e8], 0.0)]),
        ("huge and contradictory", vec![answer(&[1e12, 0.0, 1e12], 1.0), answer(&[1e12, 1.0, 1e12], 0.0)]),
        ("beyond all measure", vec![answer(&[1e60, -1e60, 0.0], 1.0), answer(&[1e60, 1e59, -1e60], 0.0)]),
        ("weightless", vec![Evidence { weight: 0.0, ..answer(&one, 1.0) }]),
        ("heavy", vec![Evidence { weight: 1e9, ..answer(&one, 1.0) }]),
    ];
    for (name, evidence) in cases {
        let posterior = Posterior::fit(&evidence, &unit_prior(3)).expect(name);
        assert!(
            posterior.coefficients().iter().chain(posterior.hessian().iter()).all(|x| x.is_finite()),
            "{name}"
        );
        assert!(posterior.standard_errors().iter().all(|s| (0.0..=1.0 + 1e-9).contains(s)), "{name}");
        assert!(posterior.report().objective.is_finite(), "{name}");
        assert_ne!(
            posterior.report().termination,
            Termination::IterationLimit,
            "{name}: {:?}",
            posterior.report()
        );
        for e in &evidence {
            let z = posterior.coefficients().dot(&e.delta);
            assert!(
                !(name.contains("separable") || name == "huge") || (z > 0.0) == (e.preference > 0.5),
                "{name}: {z}"
            );
        }
    }
}

#[test]
fn a_tie_and_two_opposite_halves_are_the_same_evidence() {
    let delta = [0.7, -1.2];
    let halves = [1.0, 0.0].map(|a| Evidence { weight: 0.5, ..answer(&delta, a) });
    let tied = Posterior::fit(&[answer(&delta, 0.5)], &unit_prior(2)).expect("finite");
    let opposite = Posterior::fit(&halves, &unit_prior(2)).expect("finite");
    assert!((tied.coefficients() - opposite.coefficients()).amax() < 1e-9);
    assert!((tied.hessian() - opposite.hessian()).amax() < 1e-9);
}

#[test]
fn bad_evidence_is_named() {
    let message =
        |e: Evidence| Posterior::fit(&[answer(&[1.0, 1.0], 1.0), e], &unit_prior(2)).unwrap_err().to_string();
    assert_eq!(
        message(answer(&[0.0, f64::NAN], 1.0)),
        "delta[1] of answer 1 is NaN; only finite numbers are allowed"
    );
    assert_eq!(
        message(answer(&[1e61, 0.0], 1.0)),
        format!("delta[0] of answer 1 is {}; allowed is ±1e60", 1e61)
    );
    assert_eq!(message(answer(&[0.0], 1.0)), "delta of answer 1 has length 1, not 2");
    assert_eq!(message(answer(&[0.0, 0.0], 1.5)), "the preference of answer 1 is 1.5; allowed is [0, 1]");
    assert_eq!(
        message(answer(&[0.0, 0.0], f64::NAN)),
        "the preference of answer 1 is NaN; allowed is [0, 1]"
    );
    let negative = Evidence { weight: -1.0, ..answer(&[0.0, 0.0], 1.0) };
    assert_eq!(message(negative), "the weight of answer 1 is -1; allowed is [0, ∞)");
    let lapse = Posterior::fit_with_lapse(&[], &unit_prior(2), 1.0).unwrap_err().to_string();
    assert_eq!(lapse, "the lapse rate is 1; allowed is [0, 1)");
}

#[test]
fn a_lapse_rate_forgives_one_wrong_key() {
    let mut evidence = vec![answer(&[4.0], 1.0); 12];
    evidence.push(answer(&[4.0], 0.0));
    let strict = Posterior::fit(&evidence, &unit_prior(1)).expect("finite");
    let forgiving = Posterior::fit_with_lapse(&evidence, &unit_prior(1), 0.1).expect("finite");
    assert!(forgiving.coefficients()[0] > strict.coefficients()[0] + 0.05);
    assert_eq!(forgiving.report().termination, Termination::Converged);
}

#[test]
fn what_was_kept_reads_back_the_same() {
    let posterior = Posterior::fit(&[answer(&[1.0, 2.0], 1.0)], &unit_prior(2)).expect("finite");
    let read =
        Posterior::from_parts(posterior.coefficients().clone(), posterior.hessian().clone()).expect("valid");
    assert_eq!(read.covariance(), posterior.covariance());
    let refused = Posterior::from_parts(DVector::zeros(2), -DMatrix::identity(2, 2)).unwrap_err();
    assert_eq!(refused.to_string(), "the Hessian is not symmetric and positive definite");
}

fn some_evidence() -> impl Strategy<Value = Vec<Evidence>> {
    let one = (prop::collection::vec(-3.0..3.0, 3), prop::sample::select(vec![0.0, 0.5, 1.0, 0.3]), 0.1..3.0);
    let evidence = one.prop_map(|(delta, preference, weight)| Evidence {
        delta: DVector::from_vec(delta),
        preference,
        weight,
    });
    prop::collection::vec(evidence, 0..25)
}

proptest! {
    /// f and its derivatives, with and without lapses, against central differences.
    #[test]
    fn gradient_and_hessian_meet_finite_differences(
        evidence in some_evidence(),
        at in prop::collection::vec(-1.5..1.5, 3),
        lapse in prop::sample::select(vec![0.0, 0.1]),
    ) {
        let prior = unit_prior(3);
        let objective = Objective::new(&evidence, &prior, lapse).expect("valid");
        let value = |l: &[f64]| objective.value(l, &objective.logits(l));
        let (mut gradient, mut hessian) = (vec![0.0; 3], vec![0.0; 9]);
        objective.derivatives(&at, &objective.logits(&at), &mut gradient, &mut hessian);
        let step = 1e-5;
        for j in 0..3 {
            let (mut up, mut down) = (at.clone(), at.clone());
            up[j] += step;
            down[j] -= step;
            let slope = (value(&up) - value(&down)) / (2.0 * step);
            prop_assert!((gradient[j] - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{} {slope}", gradient[j]);
            if lapse > 0.0 {
                continue; // Fisher weights: not the second derivative.
            }
            let (mut above, mut below, mut unused) = (vec![0.0; 3], vec![0.0; 3], vec![0.0; 9]);
            objective.derivatives(&up, &objective.logits(&up), &mut above, &mut unused);
            objective.derivatives(&down, &objective.logits(&down), &mut below, &mut unused);
            for k in 0..3 {
                let curvature = (above[k] - below[k]) / (2.0 * step);
                prop_assert!((hessian[j * 3 + k] - curvature).abs() < 1e-6 * (1.0 + curvature.abs()));
            }
        }
    }

    /// Calling the other answer A, or giving the answers in another order, changes nothing.
    #[test]
    fn order_does_not_matter(evidence in some_evidence()) {
        let here = Posterior::fit(&evidence, &unit_prior(3)).expect("finite");
        let turned: Vec<Evidence> =
            evidence.iter().rev().map(|e| Evidence { delta: -&e.delta, preference: 1.0 - e.preference, weight: e.weight }).collect();
        let there = Posterior::fit(&turned, &unit_prior(3)).expect("finite");
        prop_assert!((here.coefficients() - there.coefficients()).amax() < 1e-8);
        prop_assert!((here.hessian() - there.hessian()).amax() < 1e-7);
    }

    /// The gradient vanishes, and one more answer leaves no direction less certain at the same λ.
    #[test]
    fn the_fit_is_a_minimum(evidence in some_evidence()) {
        let prior = unit_prior(3);
        let posterior = Posterior::fit(&evidence, &prior).expect("finite");
        prop_assert_eq!(posterior.report().termination, Termination::Converged);
        prop_assert!(posterior.report().gradient_norm < 1e-7);
        let spread = posterior.covariance();
        prop_assert!(spread.diagonal().iter().all(|v| *v <= 1.0 + 1e-9));
        let variances = posterior.standard_errors().map(|error| error * error);
        prop_assert!((variances - spread.diagonal()).amax() < 1e-12);
        prop_assert!((spread * posterior.hessian() - DMatrix::identity(3, 3)).amax() < 1e-9);
    }
}
