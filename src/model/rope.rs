//! Rotary position frequencies of a decoder, as `config.json` gives them.

use std::f64::consts::TAU;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::float_type::at_least_f32;

/// `rope_scaling` of transformers 4, and `rope_parameters` of 5.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct RopeFile {
    pub(super) rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
}

/// How frequencies are changed for contexts longer than those of pretraining.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RopeScaling {
    /// All divided by a factor.
    Linear { factor: f64 },
    /// Llama 3.1: those of waves longer than `context / low` positions divided by a factor, those of waves shorter than
    /// `context / high` kept, and a blend between the two.
    Llama3 { factor: f64, low: f64, high: f64, context: f64 },
}

impl RopeFile {
    /// Nothing where frequencies are as they are; the error is a reason for people.
    pub(super) fn scaling(&self) -> Result<Option<RopeScaling>, String> {
        let positive = |field: &str, value: Option<f64>| {
            let value = value.ok_or_else(|| format!("{field}: got none; this rope_type needs one"))?;
            let finite = value.is_finite() && value > 0.0;
            finite.then_some(value).ok_or_else(|| format!("{field}: got {value}; allowed: above 0"))
        };
        let factor = || positive("factor", self.factor);
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear { factor: factor()? })),
            Some("llama3") => {
                let low = positive("low_freq_factor", self.low_freq_factor)?;
                let high = positive("high_freq_factor", self.high_freq_factor)?;
                if low >= high {
                    return Err(format!(
                        "low_freq_factor: got {low}; allowed: below high_freq_factor, {high}"
                    ));
                }
                let context = self.original_max_position_embeddings.map(|positions| positions as f64);
                let context = positive("original_max_position_embeddings", context)?;
                Ok(Some(RopeScaling::Llama3 { factor: factor()?, low, high, context }))
            }
            Some(other) => {
                Err(format!("rope_type: got {other:?}; allowed: \"default\", \"linear\", \"llama3\""))
            }
        }
    }
}

/// Radians a position for each pair of a head's dimensions: θ⁻²ⁱᐟʷ for i < w/2, w the head width, then scaled.
pub(super) fn frequencies(theta: f64, head_dim: usize, scaling: Option<&RopeScaling>) -> Vec<f64> {
    let half = head_dim / 2;
    let plain = (0..half).map(|i| theta.powf(-(i as f64) / half as f64));
    plain
        .map(|frequency| match *scaling.unwrap_or(&RopeScaling::Linear { factor: 1.0 }) {
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low, high, context } => {
                let waves = context * frequency / TAU;
                let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        })
        .collect()
}

/// Frequencies as a row, (1, head width / 2), for a network that computes in `dtype`; never in half precision, which cannot
/// tell position 257 from 256.
pub(super) fn row(frequencies: &[f64], dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
    // Not every device has numbers of 64 bits.
    Tensor::new(frequencies, &Device::Cpu)?.unsqueeze(0)?.to_dtype(at_least_f32(dtype))?.to_device(device)
}

/// cos and sin of position × frequency, (positions, head width / 2) each, in `dtype`.
pub(super) fn turns(
    positions: Vec<f32>,
    frequencies: &Tensor,
    dtype: DType,
) -> candle_core::Result<(Tensor, Tensor)> {
    let rows = positions.len();
    let positions = Tensor::from_vec(positions, (rows, 1), frequencies.device())?;
    let angles = positions.to_dtype(frequencies.dtype())?.matmul(frequencies)?;
    Ok((angles.cos()?.to_dtype(dtype)?, angles.sin()?.to_dtype(dtype)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: serde_json::Value) -> RopeFile {
        serde_json::from_value(json).unwrap()
    }

    /// A wave that turns once within `context` positions, one that turns `high` times, and one between.
    #[test]
    fn llama_3_keeps_short_waves_and_stretches_long_ones() {
        let scaling = Some(RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, context: 64.0 });
        let plain = frequencies(500.0, 16, None);
        let scaled = frequencies(500.0, 16, scaling.as_ref());
        for (plain, scaled) in plain.iter().zip(&scaled) {
            let turns = 64.0 * plain / TAU;
            let ratio = scaled / plain;
            match turns {
                4.0.. => assert_eq!(ratio, 1.0),
                ..1.0 => assert!((ratio - 0.125).abs() < 1e-12),
                _ => assert!(ratio > 0.125 && ratio < 1.0, "{ratio}"),
            }
        }
        assert!(scaled.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn settings_that_are_missing_or_out_of_range_are_named() {
        for (json, words) in [
            (serde_json::json!({"rope_type": "yarn"}), "rope_type: got \"yarn\""),
            (serde_json::json!({"type": "linear"}), "factor: got none"),
            (serde_json::json!({"type": "linear", "factor": 0.0}), "factor: got 0"),
            (
                serde_json::json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
                "low_freq_factor: got 4; allowed: below high_freq_factor, 4",
            ),
        ] {
            let error = file(json).scaling().unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
        assert_eq!(file(serde_json::json!({"rope_type": "default"})).scaling(), Ok(None));
    }
}
