//! Gradients of the networks by every kind of weight against central finite differences, in f64.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarBuilder;

use super::Tuning;
use super::decoder_config::DecoderConfig;
use super::kernels::Kernels;
use super::modern_bert_config::ModernBertConfig;
use super::packed_bert::{self, PackedBert};
use super::packed_decoder::{self, Family, PackedDecoder};
use super::packed_modern_bert::{self, PackedModernBert};

/// Half of the distance between the two values of a difference. Its square times the third derivative is what a
/// central difference is off by, about 1e-10 here.
const H: f64 = 1e-5;
/// candle's derivative of GELU has 1/√(2π) to six digits.
const TOLERANCE: f64 = 1e-6;

type Weights = HashMap<String, Tensor>;

fn in_f64(weights: Weights) -> Weights {
    weights.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F64).unwrap())).collect()
}

/// A number that depends on every entry of every text's rows.
fn loss(rows: &[Tensor]) -> Result<Tensor> {
    let rows = Tensor::cat(rows, 0)?;
    let factors: Vec<f64> = (0..rows.elem_count()).map(|n| (n as f64 * 0.7).sin()).collect();
    let factors = Tensor::from_vec(factors, rows.dims(), &Device::Cpu)?;
    (rows.sqr()? * &factors)?.sum_all()? + (rows * factors)?.sum_all()?
}

/// Decoder with a prefix shared by two texts, and a text alone.
fn decoder(weights: Weights) -> Result<Tensor> {
    let weights = VarBuilder::from_tensors(weights, DType::F64, &Device::Cpu);
    let decoder = PackedDecoder::load(weights, &packed_decoder::tests::config(), Kernels::Differentiable)?;
    let family = Family { prefix: &[3, 1, 4], endings: vec![&[1, 5], &[9, 2, 6]] };
    loss(&decoder.forward(&[family, Family { prefix: &[], endings: vec![&[5, 3, 5, 8]] }])?)
}

fn encoder(weights: Weights) -> Result<Tensor> {
    let weights = VarBuilder::from_tensors(weights, DType::F64, &Device::Cpu);
    let encoder = PackedBert::load(weights, &packed_bert::tests::config(), Kernels::Differentiable)?;
    loss(&encoder.forward(&[&[2, 7, 3], &[2, 9, 11, 30, 41, 3]])?)
}

/// With a window shorter than the longer text.
fn modern_encoder(weights: Weights) -> Result<Tensor> {
    let weights = VarBuilder::from_tensors(weights, DType::F64, &Device::Cpu);
    let config = ModernBertConfig { windows: vec![None, Some(2)], ..packed_modern_bert::tests::config() };
    let encoder = PackedModernBert::load(weights, &config, Kernels::Differentiable)?;
    loss(&encoder.forward(&[&[2, 7, 3], &[2, 9, 11, 30, 41, 3]])?)
}

/// Some entries of every variable: the largest gradient, the first and the last.
fn agree(tuning: Tuning, weights: &Weights, network: fn(Weights) -> Result<Tensor>) {
    let variables = tuning.variables(weights, 5).unwrap();
    // B = 0 would leave A without a gradient.
    for (index, variable) in variables.values().enumerate().filter(|_| tuning != Tuning::Full) {
        let shift = (0..variable.elem_count()).map(|n| ((n * 31 + index * 17) % 97) as f64 / 400.0 - 0.1);
        let shift = Tensor::from_vec(shift.collect(), variable.dims(), &Device::Cpu).unwrap();
        variable.set(&(variable.as_tensor() + shift).unwrap()).unwrap();
    }
    let value = |variables: &BTreeMap<String, Var>| {
        let tuned = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
        network(tuning.applied(weights, &tuned.collect()).unwrap()).unwrap()
    };
    let gradients = value(&variables).backward().unwrap();
    let mut steepest: f64 = 0.0;
    for (name, variable) in &variables {
        let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
        let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
        let start: Vec<f64> = variable.flatten_all().unwrap().to_vec1().unwrap();
        let largest = (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()));
        for index in [0, start.len() - 1, largest.unwrap()] {
            let moved = |by: f64| {
                let mut values = start.clone();
                values[index] += by;
                variable.set(&Tensor::from_vec(values, variable.dims(), &Device::Cpu).unwrap()).unwrap();
                value(&variables).to_scalar::<f64>().unwrap()
            };
            let difference = (moved(H) - moved(-H)) / (2.0 * H);
            moved(0.0);
            let error = (gradient[index] - difference).abs();
            assert!(
                error <= TOLERANCE * (1.0 + difference.abs()),
                "{name}[{index}]: {} {difference}",
                gradient[index]
            );
            steepest = steepest.max(difference.abs());
        }
    }
    assert!(steepest > 1e-2, "a loss that hardly moves shows nothing: {steepest}");
}

#[test]
fn a_decoder_with_all_its_weights() {
    agree(
        Tuning::Full,
        &in_f64(packed_decoder::tests::random_weights(&packed_decoder::tests::config())),
        decoder,
    );
}

#[test]
fn a_decoder_with_low_rank_adapters() {
    let weights = in_f64(packed_decoder::tests::random_weights(&packed_decoder::tests::config()));
    let tuning = Tuning::Lora { rank: 3, alpha: 6.0 };
    assert_eq!(tuning.variables(&weights, 0).unwrap().len(), 3 * 7 * 2);
    agree(tuning, &weights, decoder);
}

#[test]
fn an_encoder_with_all_its_weights_and_with_low_rank_adapters() {
    let weights = in_f64(packed_bert::tests::random_weights(&packed_bert::tests::config()));
    let tuning = Tuning::Lora { rank: 2, alpha: 4.0 };
    assert_eq!(tuning.variables(&weights, 0).unwrap().len(), 3 * 6 * 2);
    agree(tuning, &weights, encoder);
    agree(Tuning::Full, &weights, encoder);
}

#[test]
fn a_modern_encoder_with_all_its_weights_and_with_low_rank_adapters() {
    let config = ModernBertConfig { windows: vec![None; 2], ..packed_modern_bert::tests::config() };
    let weights = in_f64(packed_modern_bert::tests::random_weights(&config));
    let tuning = Tuning::Lora { rank: 2, alpha: 4.0 };
    assert_eq!(tuning.variables(&weights, 0).unwrap().len(), 2 * 4 * 2);
    agree(tuning, &weights, modern_encoder);
    agree(Tuning::Full, &weights, modern_encoder);
}

/// Written out or in one piece, it is the same network; and B = 0 leaves its weights as they were, to the last bit.
#[test]
fn a_tuning_begins_at_the_network_as_it_was() {
    let config = packed_decoder::tests::config();
    let weights = packed_decoder::tests::random_weights(&config);
    let tuning = Tuning::LORA;
    let variables = tuning.variables(&weights, 1).unwrap();
    let tuned =
        variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect();
    let applied = tuning.applied(&weights, &tuned).unwrap();
    for (name, weight) in &weights {
        let (before, after) = (weight.flatten_all().unwrap(), applied[name].flatten_all().unwrap());
        assert_eq!(before.to_vec1::<f32>().unwrap(), after.to_vec1::<f32>().unwrap(), "{name}");
    }
    let rows = |kernels| {
        let weights = VarBuilder::from_tensors(weights.clone(), DType::F32, &Device::Cpu);
        let decoder = PackedDecoder::load(weights, &config, kernels).unwrap();
        let rows = decoder.forward(&[Family { prefix: &[3, 1], endings: vec![&[4, 1, 5], &[9]] }]).unwrap();
        Tensor::cat(&rows, 0).unwrap()
    };
    let difference = (rows(Kernels::Fused) - rows(Kernels::Differentiable)).unwrap().abs().unwrap();
    assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() <= 1e-5);
}

/// candle goes through a network recursively, layer upon layer: 40 of them are more than models of 7 billion weights
/// have.
#[test]
fn a_deep_network_has_room_on_a_thread() {
    let config = packed_decoder::tests::config();
    let config = DecoderConfig { num_hidden_layers: 40, ..config };
    let deep = std::thread::spawn(move || {
        let weights = packed_decoder::tests::random_weights(&config);
        let variable = Var::from_tensor(&weights["model.embed_tokens.weight"]).unwrap();
        let tuned = BTreeMap::from([("model.embed_tokens.weight".to_owned(), variable.as_tensor().clone())]);
        let weights = Tuning::Full.applied(&weights, &tuned).unwrap();
        let weights = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        let decoder = PackedDecoder::load(weights, &config, Kernels::Differentiable).unwrap();
        let rows = decoder.forward(&[Family { prefix: &[], endings: vec![&[1, 2, 3]] }]).unwrap();
        let gradients = rows[0].sum_all().unwrap().backward().unwrap();
        gradients.get(&variable).is_some()
    });
    assert!(deep.join().unwrap());
}
