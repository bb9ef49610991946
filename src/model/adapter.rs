use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::Tuning;
use super::opening::Weights;

/// The one entry of the file's metadata: [`Tuning`] as JSON.
const METADATA: &str = "tuning";

/// What tuning made of a backbone's weights: the factors of low-rank adapters, or the weights themselves, f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    tuning: Tuning,
    tensors: BTreeMap<String, Values>,
}

/// A tensor's numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Adapter {
    /// Of tensors by name, as they stand.
    pub(super) fn new<'a>(
        tuning: Tuning,
        tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    ) -> candle_core::Result<Self> {
        let tensors = tensors.into_iter().map(|(name, tensor)| {
            let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            Ok((name.clone(), Values { shape: tensor.dims().to_vec(), values }))
        });
        Ok(Self { tuning, tensors: tensors.collect::<candle_core::Result<_>>()? })
    }

    /// What was tuned.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// How many numbers it holds.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.values.len()).sum()
    }

    /// The first number that is not finite: its tensor, place and value.
    pub(super) fn not_finite(&self) -> Option<(&str, usize, f32)> {
        self.tensors.iter().find_map(|(name, tensor)| {
            let index = tensor.values.iter().position(|value| !value.is_finite())?;
            Some((name.as_str(), index, tensor.values[index]))
        })
    }

    /// The hash of a backbone with these weights, from that of the backbone that was tuned.
    pub(super) fn hash_on(&self, frozen: &str) -> String {
        hex::encode(
            Sha256::new().chain_update(frozen).chain_update(b"\n").chain_update(self.encode()).finalize(),
        )
    }

    /// Puts what was tuned in its place among a backbone's weights, so that it costs nothing afterwards.
    pub(super) fn apply(&self, weights: &mut Weights, device: &Device) -> candle_core::Result<()> {
        let tuned = self.tensors.iter().map(|(name, tensor)| {
            let tensor = Tensor::from_slice(&tensor.values, tensor.shape.as_slice(), device)?;
            Ok((name.clone(), tensor))
        });
        let tuned: BTreeMap<_, _> = tuned.collect::<candle_core::Result<_>>()?;
        weights.tensors = self.tuning.applied(&weights.in_f32()?, &tuned)?;
        Ok(())
    }

    /// As a safetensors file; the same adapter gives the same bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = (self.tensors.values())
            .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = self.tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
                .expect("four bytes were written for each value");
            (name.as_str(), view)
        });
        let tuning = serde_json::to_string(&self.tuning).expect("names and numbers are JSON");
        let metadata = HashMap::from([(METADATA.to_owned(), tuning)]);
        safetensors::serialize(views, Some(metadata))
            .expect("f32 tensors with one entry of metadata serialize")
    }

    /// From a file's bytes; the error is a reason for people.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let tuning = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
        let tuning =
            tuning.ok_or_else(|| format!("metadata: got no {METADATA:?}; it says what was tuned"))?;
        let tuning: Tuning =
            serde_json::from_str(tuning).map_err(|error| format!("metadata {METADATA:?}: {error}"))?;
        if matches!(tuning, Tuning::Lora { rank: 0, .. }) {
            return Err("rank: got 0; allowed: at least 1".to_owned());
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(format!("{name} is {:?}; allowed: F32", view.dtype()));
            }
            let values = view.data().chunks_exact(4);
            let values =
                values.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
            tensors.insert(name.to_owned(), Values { shape: view.shape().to_vec(), values });
        }
        Ok(Self { tuning, tensors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LORA: Tuning = Tuning::Lora { rank: 1, alpha: 3.0 };

    fn tensor(values: &[f32], shape: (usize, usize)) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn adapter() -> Adapter {
        let factors = [
            ("layers.0.self_attn.q_proj.lora_A.weight".to_owned(), tensor(&[1.0, 2.0, 3.0], (1, 3))),
            ("layers.0.self_attn.q_proj.lora_B.weight".to_owned(), tensor(&[10.0, -1.0], (2, 1))),
        ];
        Adapter::new(LORA, factors.iter().map(|(name, tensor)| (name, tensor))).unwrap()
    }

    fn weights(name: &str, shape: (usize, usize)) -> Weights {
        let weight = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        Weights { tensors: HashMap::from([(name.to_owned(), weight)]), ..Weights::default() }
    }

    #[test]
    fn factors_are_added_to_the_weight_that_they_adapt() {
        let mut weights = weights("layers.0.self_attn.q_proj.weight", (2, 3));
        adapter().apply(&mut weights, &Device::Cpu).unwrap();
        let merged = weights.tensors["layers.0.self_attn.q_proj.weight"].to_vec2::<f32>().unwrap();
        assert_eq!(merged, [[31.0, 61.0, 91.0], [-2.0, -5.0, -8.0]], "1 + 3 B A");
    }

    #[test]
    fn a_backbone_of_other_weights_is_refused() {
        let refused = |name, shape| {
            let mut weights = weights(name, shape);
            adapter().apply(&mut weights, &Device::Cpu).unwrap_err().to_string()
        };
        let error = refused("layers.0.self_attn.q_proj.weight", (3, 3));
        assert!(error.contains("q_proj.weight is [2, 3], the backbone's is [3, 3]"), "{error}");
        let error = refused("layers.1.self_attn.q_proj.weight", (2, 3));
        assert!(error.contains("the backbone has no layers.0.self_attn.q_proj.weight"), "{error}");
    }

    #[test]
    fn files_are_read_as_they_were_written_and_others_refused() {
        let (written, bytes) = (adapter(), adapter().encode());
        assert_eq!(bytes, written.encode());
        assert_eq!(Adapter::decode(&bytes).as_ref(), Ok(&written));
        assert_eq!((written.tuning(), written.parameters(), written.not_finite()), (LORA, 5, None));
        assert_ne!(written.hash_on("a"), written.hash_on("b"));

        assert!(Adapter::decode(&bytes[..bytes.len() - 1]).is_err());
        let plain = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        assert!(Adapter::decode(&plain).unwrap_err().contains("got no \"tuning\""));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(r#"{\"kind\":\"lora\",\"rank\":1,\"alpha\":3.0}"#), "{text}");
        let rank_0 = Adapter { tuning: Tuning::Lora { rank: 0, alpha: 1.0 }, ..written };
        assert!(Adapter::decode(&rank_0.encode()).unwrap_err().contains("rank: got 0"));
    }
}
