use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::math::normal;

/// The products that low-rank adapters are put on, by the ends of their weights' names: attention's four and the
/// feed-forward's, of a decoder, of BERT and of ModernBERT.
const ADAPTED: [&str; 17] = [
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
    "attention.self.query.weight",
    "attention.self.key.weight",
    "attention.self.value.weight",
    "attention.output.dense.weight",
    "intermediate.dense.weight",
    "output.dense.weight",
    "attn.Wqkv.weight",
    "attn.Wo.weight",
    "mlp.Wi.weight",
    "mlp.Wo.weight",
];

/// Which of a backbone's weights are trained, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Tuning {
    /// W + (α/r) B A in place of every projection W (out × in) of attention and feed-forward, with A (r × in) and B
    /// (out × r) trained and W as it was. Hu et al. 2021, §4.1.
    Lora {
        /// r ≥ 1
        rank: usize,
        /// α
        alpha: f64,
    },
    /// Every weight that embeddings depend on, those of the words included.
    Full,
}

impl Tuning {
    /// r = 8, α = 16.
    pub const LORA: Self = Self::Lora { rank: 8, alpha: 16.0 };

    /// As a manifest names it: `lora` or `full`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Lora { .. } => "lora",
            Self::Full => "full",
        }
    }

    /// A network's weights with what was tuned in place of what it replaces; differentiable.
    ///
    /// `tuned` has, by the names that [`variables`] gives them, a whole weight or the A and B of one.
    pub(super) fn applied(
        self,
        weights: &HashMap<String, Tensor>,
        tuned: &BTreeMap<String, Tensor>,
    ) -> Result<HashMap<String, Tensor>> {
        let mut applied = weights.clone();
        match self {
            Self::Full => {
                for (name, tensor) in tuned {
                    of_shape(weights, name, tensor.dims())?;
                    applied.insert(name.clone(), tensor.clone());
                }
            }
            Self::Lora { rank, alpha } => {
                let factors = tuned.iter().filter_map(|(name, a)| Some((name.strip_suffix(A)?, a)));
                for (module, a) in factors {
                    let (name, b) = (format!("{module}.weight"), tuned.get(&format!("{module}{B}")));
                    let Some(b) = b else { candle_core::bail!("{module} has A and no B") };
                    let (r, columns) = a.dims2()?;
                    if r != rank || b.dim(1)? != rank {
                        candle_core::bail!("{module}: ranks are {r} and {}, not {rank}", b.dim(1)?);
                    }
                    let weight = of_shape(weights, &name, &[b.dim(0)?, columns])?;
                    applied.insert(name, ((b.matmul(a)? * (alpha / rank as f64))? + weight)?);
                }
            }
        }
        Ok(applied)
    }

    /// What is trained, at its start: with it a network is what it was, B being zero and A ~ N(0, 1/√in).
    ///
    /// For [`Tuning::Full`] that is every weight of `weights`, whether a network uses it or not.
    pub(super) fn variables(
        self,
        weights: &HashMap<String, Tensor>,
        seed: u64,
    ) -> Result<BTreeMap<String, Var>> {
        let mut names: Vec<&String> = weights.keys().collect();
        names.sort_unstable();
        let mut variables = BTreeMap::new();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for name in names {
            let weight = &weights[name];
            match self {
                Self::Full => {
                    variables.insert(name.clone(), Var::from_tensor(weight)?);
                }
                Self::Lora { rank, .. } => {
                    if !ADAPTED.iter().any(|end| name.ends_with(end)) || weight.rank() != 2 {
                        continue;
                    }
                    let Some(module) = name.strip_suffix(".weight") else { continue };
                    let (rows, columns) = weight.dims2()?;
                    let scale = 1.0 / (columns as f64).sqrt();
                    let values = (0..rank * columns).map(|_| scale * normal(&mut rng)).collect();
                    let a = made(values, (rank, columns), weight.dtype(), weight.device())?;
                    let b = Tensor::zeros((rows, rank), weight.dtype(), weight.device())?;
                    variables.insert(format!("{module}{A}"), Var::from_tensor(&a)?);
                    variables.insert(format!("{module}{B}"), Var::from_tensor(&b)?);
                }
            }
        }
        Ok(variables)
    }
}

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

fn of_shape<'a>(weights: &'a HashMap<String, Tensor>, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
    match weights.get(name) {
        Some(weight) if weight.dims() == shape => Ok(weight),
        Some(weight) => candle_core::bail!("{name} is {shape:?}, the backbone's is {:?}", weight.dims()),
        None => candle_core::bail!("the backbone has no {name}"),
    }
}

fn made(values: Vec<f64>, shape: (usize, usize), dtype: DType, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}
