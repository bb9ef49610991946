use std::collections::HashMap;

use nalgebra::{DMatrix, DVector};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

/// Name of the one tensor of its file, and of its metadata.
const WEIGHT: &str = "weight";
const RECORD: &str = "record";

/// V (J × d): from a language model's hidden state after a token to how much of each base function the finished text will
/// have more than others of the same prompt. Since a reward is linear in φ, the value of any user's is λᵀV h: one head serves
/// everybody (Han et al. 2024, with J outputs).
#[derive(Debug, Clone, PartialEq)]
pub struct ValueHead {
    /// V
    pub weights: DMatrix<f32>,
    /// What it was made from, and how well it was seen to predict.
    pub record: ValueHeadRecord,
}

/// What is known of a value head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueHeadRecord {
    /// Name of the language model.
    pub language_model: String,
    /// Its [`LanguageModel::hash`](super::LanguageModel::hash): to another model's hidden states V means nothing.
    pub language_model_hash: String,
    /// Prompts with completions.
    pub prompts: usize,
    /// Completions of each.
    pub rollouts: usize,
    /// Longest completion, in tokens.
    pub max_tokens: usize,
    /// Strength of the ridge, relative to the mean square of a hidden state's coordinates.
    pub ridge: f64,
    /// R² by position, on prompts that the regression had not seen.
    pub positions: Vec<PositionScore>,
}

/// How much of what the finished texts will differ in is known at a position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionScore {
    /// Where in the text, as a share of its length: the end of the interval, in (0, 1].
    pub until: f64,
    /// 1 − Σ‖y − Vh‖² / Σ‖y‖², y and h centred over the completions of a prompt.
    pub r_squared: f64,
    /// Over prompts, by resampling them.
    pub standard_error: f64,
}

impl ValueHead {
    /// u = β Vᵀλ: what a hidden state's value to a user of coefficients λ is its product with.
    pub fn direction(&self, coefficients: &DVector<f64>, guidance_scale: f64) -> Vec<f32> {
        let weights = self.weights.map(f64::from);
        (weights.tr_mul(coefficients) * guidance_scale).iter().map(|&value| value as f32).collect()
    }

    /// The content of `value_head.safetensors`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (rows, columns) = self.weights.shape();
        let values = self.weights.transpose();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![rows, columns], &bytes)
            .expect("four bytes were written for each of rows × columns values");
        let record = serde_json::to_string(&self.record).expect("numbers and strings serialize");
        let metadata = HashMap::from([(RECORD.to_owned(), record)]);
        safetensors::serialize([(WEIGHT, view)], Some(metadata)).expect("one f32 tensor serializes")
    }

    /// From such a content; J rows.
    pub(super) fn decode(bytes: &[u8], base_functions: usize) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let record = metadata.metadata().as_ref().and_then(|metadata| metadata.get(RECORD));
        let record = record.ok_or_else(|| format!("its metadata has no {RECORD}"))?;
        let record = serde_json::from_str(record).map_err(|error| format!("{RECORD}: {error}"))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let weight = tensors.tensor(WEIGHT).map_err(|error| error.to_string())?;
        let (Dtype::F32, &[rows, columns]) = (weight.dtype(), weight.shape()) else {
            return Err(format!(
                "{WEIGHT} is {:?} {:?}; allowed: a matrix of F32",
                weight.dtype(),
                weight.shape()
            ));
        };
        if rows != base_functions {
            return Err(format!("{WEIGHT} has {rows} rows; allowed: {base_functions}, the base functions"));
        }
        let values = weight
            .data()
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        let weights = DMatrix::from_row_iterator(rows, columns, values);
        match weights.iter().all(|value| value.is_finite()) {
            true => Ok(Self { weights, record }),
            false => Err(format!("{WEIGHT} holds numbers that are not finite")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ValueHead {
        ValueHead {
            weights: DMatrix::from_row_slice(2, 3, &[1.0, 2.0, 3.0, -4.0, 5.0, 0.5]),
            record: ValueHeadRecord {
                language_model: "story".to_owned(),
                language_model_hash: "00ff".to_owned(),
                prompts: 20,
                rollouts: 8,
                max_tokens: 64,
                ridge: 0.1,
                positions: vec![PositionScore { until: 1.0, r_squared: 0.4, standard_error: 0.05 }],
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(ValueHead::decode(&head().encode(), 2), Ok(head()));
        assert!(ValueHead::decode(&head().encode(), 3).unwrap_err().contains("2 rows; allowed: 3"));
        assert!(ValueHead::decode(&head().encode()[..40], 2).is_err());
        let mut broken = head();
        broken.weights[(1, 1)] = f32::NAN;
        assert!(ValueHead::decode(&broken.encode(), 2).unwrap_err().contains("not finite"));
    }

    #[test]
    fn the_direction_is_linear_in_the_user_and_the_scale() {
        let lambda = DVector::from_vec(vec![1.0, 2.0]);
        assert_eq!(head().direction(&lambda, 1.0), [-7.0, 12.0, 4.0]);
        assert_eq!(head().direction(&lambda, -0.5), [3.5, -6.0, -2.0]);
        assert_eq!(head().direction(&lambda, 0.0), [0.0; 3]);
    }
}
