//! A person as a point of the simplex, which mixes shared rewards or prototypes: what LoRe and PAL have in common.

use crate::math::logistic::sigmoid;

/// θ of people in training and w = softmax(θ) ∈ Δ of those met later.
#[derive(Debug, Clone)]
pub(super) struct Simplex {
    /// θ̄ (K), the average of the people of training.
    pub(super) mean: Vec<f64>,
    /// ρ: how strongly a new person's θ is held to θ̄.
    pub(super) pull: f64,
}

/// An answer that is linear in w: its logit is c + vᵀw.
pub(super) struct Linear {
    pub(super) offset: f64,
    pub(super) slope: Vec<f64>,
    pub(super) preference: f64,
}

const STEPS: usize = 200;

impl Simplex {
    /// w of the person who gave these answers: argmin Σ bce(σ(c + vᵀ softmax(θ)), a) + (ρ/2) ‖θ − θ̄‖², by gradient
    /// descent from θ̄ with steps that shrink when the loss rises and grow when it falls.
    pub(super) fn learn(&self, answers: &[Linear]) -> Vec<f64> {
        let mut theta = self.mean.clone();
        let mut value = self.loss(&theta, answers);
        let mut rate = 0.5;
        for _ in 0..STEPS {
            let weights = softmax(&theta);
            let mut toward = vec![0.0; theta.len()];
            for answer in answers {
                let slope = sigmoid(logit(answer, &weights)) - answer.preference;
                toward.iter_mut().zip(&answer.slope).for_each(|(t, v)| *t += slope * v);
            }
            let mut gradient = vec![0.0; theta.len()];
            back(&weights, &toward, &mut gradient);
            for (g, (t, m)) in gradient.iter_mut().zip(theta.iter().zip(&self.mean)) {
                *g += self.pull * (t - m);
            }
            let next: Vec<f64> = theta.iter().zip(&gradient).map(|(t, g)| t - rate * g).collect();
            let lower = self.loss(&next, answers);
            if lower <= value {
                let settled = value - lower < 1e-9;
                (theta, value) = (next, lower);
                rate *= 1.3;
                if settled {
                    break;
                }
            } else {
                rate *= 0.4;
                if rate < 1e-9 {
                    break;
                }
            }
        }
        softmax(&theta)
    }

    fn loss(&self, theta: &[f64], answers: &[Linear]) -> f64 {
        let weights = softmax(theta);
        let fit: f64 = answers
            .iter()
            .map(|answer| {
                crate::math::logistic::binary_cross_entropy(logit(answer, &weights), answer.preference)
            })
            .sum();
        let away: f64 = theta.iter().zip(&self.mean).map(|(t, m)| (t - m) * (t - m)).sum();
        fit + 0.5 * self.pull * away
    }
}

fn logit(answer: &Linear, weights: &[f64]) -> f64 {
    answer.offset + super::dot(&answer.slope, weights)
}

/// e^θ / Σ e^θ
pub(super) fn softmax(theta: &[f64]) -> Vec<f64> {
    let most = theta.iter().fold(f64::NEG_INFINITY, |m, &t| m.max(t));
    let raised: Vec<f64> = theta.iter().map(|t| (t - most).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|r| r / sum).collect()
}

/// The slope of w taken back to θ: w ∘ (g − wᵀg), added to `gradient`.
pub(super) fn back(weights: &[f64], toward: &[f64], gradient: &mut [f64]) {
    let mean = super::dot(weights, toward);
    for (g, (w, t)) in gradient.iter_mut().zip(weights.iter().zip(toward)) {
        *g += w * (t - mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_lie_on_the_simplex_and_move_to_what_the_answers_prefer() {
        let simplex = Simplex { mean: vec![0.2, -0.1, 0.0], pull: 0.3 };
        let answer = |toward: usize| {
            let mut slope = vec![0.0; 3];
            slope[toward] = 4.0;
            Linear { offset: -1.0, slope, preference: 1.0 }
        };
        let none = simplex.learn(&[]);
        assert_eq!(none, softmax(&simplex.mean));
        let one = simplex.learn(&[answer(2)]);
        let many = simplex.learn(&(0..10).map(|_| answer(2)).collect::<Vec<_>>());
        for weights in [&none, &one, &many] {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(weights.iter().all(|&w| (0.0..=1.0).contains(&w)));
        }
        assert!(none[2] < one[2] && one[2] < many[2] && many[2] > 0.8, "{none:?} {one:?} {many:?}");
    }

    #[test]
    fn the_slope_through_softmax_meets_finite_differences() {
        let (theta, toward) = ([0.3, -0.7, 0.1], [1.0, -2.0, 0.5]);
        let mut gradient = [0.0; 3];
        back(&softmax(&theta), &toward, &mut gradient);
        for at in 0..3 {
            let moved = |by: f64| {
                let mut theta = theta;
                theta[at] += by;
                super::super::dot(&softmax(&theta), &toward)
            };
            assert!(((moved(1e-6) - moved(-1e-6)) / 2e-6 - gradient[at]).abs() < 1e-8);
        }
    }
}
