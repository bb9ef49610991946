use candle_core::{D, DType, Result, Tensor};

/// How a text's token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    Cls,
    Max,
    Last,
}

impl Pooling {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Max => "max",
            Self::Last => "last",
        }
    }

    /// One vector from a text's token rows, (t, d) → (d).
    pub(super) fn pool(self, rows: &Tensor) -> Result<Tensor> {
        match self {
            Self::Mean => rows.mean(0),
            Self::Cls => rows.get(0),
            Self::Max => rows.max(0),
            Self::Last => rows.get(rows.dim(0)? - 1),
        }
    }
}

/// Each text's rows pooled, and scaled to length 1 where `normalize` says so; (texts, d) of float32.
pub(super) fn pooled(rows: &[Tensor], pooling: Pooling, normalize: bool) -> Result<Tensor> {
    let pool = |rows: &Tensor| pooling.pool(&rows.to_dtype(DType::F32)?);
    let pooled: Vec<_> = rows.iter().map(pool).collect::<Result<_>>()?;
    let pooled = Tensor::stack(&pooled, 0)?;
    if normalize { normalized(&pooled) } else { Ok(pooled) }
}

/// Rows scaled to length 1; a row of zeros stays.
fn normalized(rows: &Tensor) -> Result<Tensor> {
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    rows.broadcast_div(&length.maximum(1e-12)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn pooling_and_scaling() {
        let rows = [Tensor::new(&[[1f32, -4.0], [3.0, -2.0]], &Device::Cpu).unwrap()];
        let pooled = |rows: &[Tensor], pooling, normalize| -> Vec<Vec<f32>> {
            super::pooled(rows, pooling, normalize).unwrap().to_vec2().unwrap()
        };
        let vector = |pooling| pooled(&rows, pooling, false).remove(0);
        assert_eq!(vector(Pooling::Mean), [2.0, -3.0]);
        assert_eq!(vector(Pooling::Cls), [1.0, -4.0]);
        assert_eq!(vector(Pooling::Max), [3.0, -2.0]);
        assert_eq!(vector(Pooling::Last), [3.0, -2.0]);
        let rows = [[3f32, -4.0], [0.0, 0.0]].map(|row| Tensor::new(&[row], &Device::Cpu).unwrap());
        assert_eq!(pooled(&rows, Pooling::Mean, true), [[0.6, -0.8], [0.0, 0.0]]);
    }
}
