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
