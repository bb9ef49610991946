use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;

use super::bert::{BertReader, PackedEncoder};
use super::by_name::{Network, locate_network};
use super::causal::CausalReader;
use super::kernels::Kernels;
use super::opening::Weights;
use super::packed_decoder::PackedDecoder;
use super::{Adapter, BackboneOptions, BackboneRecord, ModelError, Text, Tuning};

/// A backbone whose weights are trained: the network of [`Backbone`](super::Backbone), in float32, with gradients.
///
/// Weights as they serve are computed from the variables first and the network is built of those, so that a tuned
/// backbone in training is the one that is opened from its adapter, and every architecture is written once. candle
/// takes the gradient by both sides of every product, so that a low-rank product kept apart would cost more, not
/// less.
pub struct TunableBackbone {
    reader: Reader,
    /// What was there before, float32.
    weights: HashMap<String, Tensor>,
    variables: BTreeMap<String, Var>,
    tuning: Tuning,
}

enum Reader {
    Bert(BertReader),
    Causal(CausalReader),
}

impl TunableBackbone {
    /// Opens a BERT, Qwen2 or Llama backbone as [`open_backbone`](super::open_backbone) does; `seed` draws the
    /// adapters' A.
    ///
    /// # Errors
    /// As there; a backbone without weights that could be trained.
    pub fn open(
        spec: &str,
        options: &BackboneOptions,
        tuning: Tuning,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let snapshot = locate_network(spec, options)?;
        let (reader, weights) = match Network::of(&snapshot)? {
            Network::Bert => {
                let (reader, weights) = BertReader::open(snapshot, options)?;
                (Reader::Bert(reader), weights)
            }
            Network::Causal => {
                let (reader, mut weights) = CausalReader::open(snapshot, options)?;
                let weights = std::mem::take(weights.trainable(spec)?);
                (Reader::Causal(reader), weights)
            }
        };
        Self::new(reader, &weights, tuning, seed)
    }

    fn new(reader: Reader, weights: &Weights, tuning: Tuning, seed: u64) -> Result<Self, ModelError> {
        let tensors = weights.in_f32()?;
        let variables = tuning.variables(&tensors, seed)?;
        let mut backbone = Self { reader, weights: tensors, variables, tuning };
        backbone.leave_unused().map_err(|error| match error {
            ModelError::Tensor(error) => weights.error(error),
            other => other,
        })?;
        Ok(backbone)
    }

    /// What is trained, by name; setting a variable changes every network made afterwards.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Hash and settings of the backbone as it was.
    pub fn frozen(&self) -> &BackboneRecord {
        match &self.reader {
            Reader::Bert(reader) => &reader.record,
            Reader::Causal(reader) => &reader.record,
        }
    }

    /// Token ids of each text, cut as [`Backbone::embed`](super::Backbone::embed) cuts: texts of one prompt belong in
    /// one call.
    pub fn encode(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<u32>>, ModelError> {
        match &self.reader {
            Reader::Bert(reader) => reader.encode(texts),
            Reader::Causal(reader) => reader.encode(texts),
        }
    }

    /// Where it lies.
    pub fn device(&self) -> &Device {
        match &self.reader {
            Reader::Bert(reader) => &reader.device,
            Reader::Causal(reader) => &reader.device,
        }
    }

    /// The network of the variables as they stand.
    pub fn network(&self) -> Result<TunableNetwork<'_>, ModelError> {
        self.built(Kernels::Differentiable, |variable| variable.as_tensor().clone())
    }

    /// The same to embed with only: quicker, and no gradient is kept.
    pub fn network_without_gradient(&self) -> Result<TunableNetwork<'_>, ModelError> {
        self.built(Kernels::Fused, |variable| variable.as_tensor().detach())
    }

    fn built(
        &self,
        kernels: Kernels,
        value: impl Fn(&Var) -> Tensor,
    ) -> Result<TunableNetwork<'_>, ModelError> {
        let tuned = self.variables.iter().map(|(name, variable)| (name.clone(), value(variable))).collect();
        let weights = self.tuning.applied(&self.weights, &tuned)?;
        let weights = VarBuilder::from_tensors(weights, DType::F32, self.device());
        Ok(TunableNetwork(match &self.reader {
            Reader::Bert(reader) => Built::Bert(reader, reader.network(weights, kernels)?),
            Reader::Causal(reader) => Built::Causal(reader, reader.network(weights, kernels)?),
        }))
    }

    /// What tuning has made of the weights, given values of [`Self::variables`] by their names.
    pub fn adapter(&self, values: &BTreeMap<String, Tensor>) -> Result<Adapter, ModelError> {
        Ok(Adapter::new(self.tuning, values)?)
    }

    /// Keeps of the variables those that an embedding depends on: a folder may have weights of other heads.
    fn leave_unused(&mut self) -> Result<(), ModelError> {
        let texts = [Text::new("Hello", "Hi!")];
        let ids = self.encode(&texts)?;
        let gradients = self.network()?.embed(&texts, &ids)?.sqr()?.sum_all()?.backward()?;
        self.variables.retain(|_, variable| gradients.get(variable).is_some());
        Ok(())
    }
}

/// A network made of a [`TunableBackbone`]'s variables as they stood.
pub struct TunableNetwork<'a>(Built<'a>);

enum Built<'a> {
    Bert(&'a BertReader, PackedEncoder),
    Causal(&'a CausalReader, PackedDecoder),
}

impl TunableNetwork<'_> {
    /// h of encoded texts, (texts, d), from which gradients reach the variables; texts of one prompt share its part of
    /// the work.
    pub fn embed(&self, texts: &[Text<'_>], ids: &[Vec<u32>]) -> Result<Tensor, ModelError> {
        Ok(match &self.0 {
            Built::Bert(reader, network) => reader.embed(network, ids)?,
            Built::Causal(reader, network) => reader.embed(network, texts, ids)?,
        })
    }
}
