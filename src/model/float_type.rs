use std::fmt;
use std::str::FromStr;

use candle_core::DType;
use serde::{Deserialize, Serialize};

use super::ModelError;

/// What a network is computed in. It belongs to what a backbone is: another dtype gives other embeddings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloatType {
    /// 32 bits.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// 16 bits, the range of float32 and 8 bits of significand. For GPUs.
    #[serde(rename = "bfloat16")]
    Bf16,
    /// 16 bits, 11 of significand; overflows at 65,504. For GPUs.
    #[serde(rename = "float16")]
    F16,
}

impl FloatType {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// For manifests and hashes, which say nothing of what is the rule.
    pub(super) fn unless_f32(self) -> Option<Self> {
        (self != Self::F32).then_some(self)
    }
}

/// What sums, norms and angles of a network in `dtype` are computed in.
pub(super) fn at_least_f32(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl fmt::Display for FloatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        })
    }
}

impl FromStr for FloatType {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "float32" | "f32" => Ok(Self::F32),
            "bfloat16" | "bf16" => Ok(Self::Bf16),
            "float16" | "f16" => Ok(Self::F16),
            _ => Err(ModelError::FloatType { given: name.to_owned() }),
        }
    }
}
