//! A model per user: what can be learned of a person from nobody else.

use nalgebra::{DMatrix, DVector};

use super::{Answer, Learned, Model, Pair};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::{Corpus, Projection};
use crate::evaluate::search::{Tuning, search};
use crate::math::{Evidence, Posterior, Prior};

/// Each person's own w under w ~ N(0, s I), on the standardised embedding.
pub(in crate::evaluate) struct PerUser {
    coordinates: Projection,
    variance: f64,
}

impl PerUser {
    /// Chooses the ridge, 1/s, that predicts people best from a few answers.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let r = corpus.coordinates().dimension();
        let of = |variance: f64| Self {
            coordinates: Projection::new(corpus.coordinates(), &DMatrix::identity(r, r)),
            variance,
        };
        let found = search(-2, &[&|log2: &mut i32, up| *log2 += if up { 1 } else { -1 }], |&log2| {
            corpus.trial(|_| Ok((of(2.0_f64.powi(log2)), 0)))
        })?;
        let variance = 2.0_f64.powi(found.setting);
        let tuning = Tuning {
            trials: found.trials,
            chosen: format!("ridge {:.3}", 1.0 / variance),
            log_likelihood: Some(found.log_likelihood),
        };
        Ok((of(variance), tuning))
    }
}

impl Model for PerUser {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        self.coordinates.of(embeddings)
    }

    /// Ridge logistic regression. Its minimiser lies in the span of the answers' differences (representer theorem), so
    /// that n coordinates in an orthonormal basis of the span do, however long embeddings are.
    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let Some(one) = answers.first() else { return Ok(Box::new(Own { weights: DVector::zeros(0) })) };
        let rows = one.pair.first.len();
        let columns: Vec<DVector<f64>> =
            answers.iter().map(|answer| DVector::from_iterator(rows, answer.pair.difference())).collect();
        let qr = DMatrix::from_columns(&columns).qr();
        let (q, inside) = (qr.q(), qr.r());
        let evidence: Vec<Evidence> = answers
            .iter()
            .zip(inside.column_iter())
            .map(|(answer, column)| Evidence {
                delta: column.into_owned(),
                preference: answer.preference,
                weight: 1.0,
            })
            .collect();
        let prior = Prior::isotropic(q.ncols(), self.variance)?;
        Ok(Box::new(Own { weights: q * Posterior::fit(&evidence, &prior)?.coefficients() }))
    }
}

/// w; empty before the first answer.
struct Own {
    weights: DVector<f64>,
}

impl Learned for Own {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        self.weights.iter().zip(pair.difference()).map(|(w, d)| w * d).sum()
    }
}
