//! Full-batch gradient descent by Adam (Kingma and Ba 2015) with an L2 penalty, stopped early.

/// How parameters move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Descent {
    /// Step size.
    pub(super) rate: f64,
    /// L2 on the first `penalised` parameters: (ridge/2) ‖·‖² is added to the loss. The optimum then keeps what the data
    /// determine, which weight decay beside Adam's normalised steps would not.
    pub(super) ridge: f64,
    /// How many are penalised: the map of embeddings, not what belongs to people.
    pub(super) penalised: usize,
    /// Steps at most.
    pub(super) steps: usize,
}

/// The log-likelihood of held-out judgments under parameters.
pub(super) type HeldOut<'a> = dyn Fn(&[f64]) -> f64 + 'a;

/// Steps between two looks at what is held out.
const LOOK: usize = 20;
/// Looks without improvement after which to stop.
const PATIENCE: usize = 4;

impl Descent {
    /// Minimises from `parameters`. Where `held_out` gives a log-likelihood, the best point seen is kept, and the number
    /// of steps to it, to be taken again where nothing is held out.
    pub(super) fn run(
        &self,
        mut parameters: Vec<f64>,
        mut gradient: impl FnMut(&[f64], &mut [f64]),
        held_out: Option<&HeldOut<'_>>,
    ) -> (Vec<f64>, usize) {
        let n = parameters.len();
        let (mut slope, mut first, mut second) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let mut best = (f64::NEG_INFINITY, parameters.clone(), 0);
        let mut waited = 0;
        for step in 1..=self.steps {
            slope.fill(0.0);
            gradient(&parameters, &mut slope);
            let penalised = parameters.iter().take(self.penalised);
            slope.iter_mut().zip(penalised).for_each(|(slope, p)| *slope += self.ridge * p);
            let correction = (1.0 - BETA.1.powi(step as i32)).sqrt() / (1.0 - BETA.0.powi(step as i32));
            for at in 0..n {
                first[at] = BETA.0 * first[at] + (1.0 - BETA.0) * slope[at];
                second[at] = BETA.1 * second[at] + (1.0 - BETA.1) * slope[at] * slope[at];
                parameters[at] -= self.rate * correction * first[at] / (second[at].sqrt() + 1e-8);
            }
            if let Some(held_out) = held_out
                && step % LOOK == 0
            {
                let reached = held_out(&parameters);
                if reached > best.0 {
                    best = (reached, parameters.clone(), step);
                    waited = 0;
                } else {
                    waited += 1;
                    if waited == PATIENCE {
                        break;
                    }
                }
            }
        }
        if held_out.is_some() { (best.1, best.2.max(1)) } else { (parameters, self.steps) }
    }
}

const BETA: (f64, f64) = (0.9, 0.99);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bowl_is_descended_and_the_best_point_seen_is_kept() {
        let descent = Descent { rate: 0.05, ridge: 0.0, penalised: 0, steps: 400 };
        let slope = |x: &[f64], g: &mut [f64]| {
            g[0] = 2.0 * (x[0] - 1.0);
            g[1] = 20.0 * (x[1] + 2.0);
        };
        let (x, steps) = descent.run(vec![0.0, 0.0], slope, None);
        assert!((x[0] - 1.0).abs() < 1e-3 && (x[1] + 2.0).abs() < 1e-3, "{x:?}");
        assert_eq!(steps, 400);
        // What is held out likes x₀ = ½ best, which is passed on the way.
        let slow = Descent { rate: 0.005, ..descent };
        let (x, steps) = slow.run(vec![0.0, 0.0], slope, Some(&|x| -(x[0] - 0.5).abs()));
        assert!((x[0] - 0.5).abs() < 0.06 && steps < 200, "{x:?} {steps}");
    }
}
