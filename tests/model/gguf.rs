//! GGUF files, written here as llama.cpp's converter writes them, beside the folders that they are made of.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use pref::model::{BackboneOptions, DeviceChoice, FloatType, LanguageModel, Message, Text, open_backbone};
use serde_json::Value as Json;

use crate::causal::{BABYLLAMA, TINY_QWEN2, reference};
use crate::encoder::{in_a_batch_as_alone, largest_difference, numbers, options};
use crate::shared_model;

/// |h − h'| / |h| of a hidden state in Q8_0 and in float32: weights and rows are rounded to 1/127 of the largest of their
/// 32 neighbours. The weights of the random Qwen2 were drawn large on purpose, and rounding with them.
const Q8_0_BOUNDS: [(&str, f32); 2] = [(TINY_QWEN2, 0.15), (BABYLLAMA, 0.06)];

pub(crate) struct Made {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Made {
    fn spec(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn json(path: PathBuf) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// transformers' folder as one file, matrices in `kind`, and what `change` does to its metadata.
pub(crate) fn made(folder: &Path, kind: GgmlDType, change: impl FnOnce(&mut HashMap<String, Value>)) -> Made {
    let config = json(folder.join("config.json"));
    let family = config["model_type"].as_str().unwrap();
    let number = |field: &str| Value::U32(config[field].as_u64().unwrap() as u32);
    let float = |value: &Json| Value::F32(value.as_f64().unwrap() as f32);
    let theta = config.get("rope_theta").unwrap_or(&config["rope_parameters"]["rope_theta"]);
    let mut metadata = HashMap::from([
        ("general.architecture".to_owned(), Value::String(family.to_owned())),
        (format!("{family}.block_count"), number("num_hidden_layers")),
        (format!("{family}.context_length"), number("max_position_embeddings")),
        (format!("{family}.embedding_length"), number("hidden_size")),
        (format!("{family}.feed_forward_length"), number("intermediate_size")),
        (format!("{family}.attention.head_count"), number("num_attention_heads")),
        (format!("{family}.attention.head_count_kv"), number("num_key_value_heads")),
        (format!("{family}.attention.layer_norm_rms_epsilon"), float(&config["rms_norm_eps"])),
        (format!("{family}.rope.freq_base"), float(theta)),
    ]);
    for key in ["bos_token_id", "eos_token_id"] {
        if let Some(id) = config[key].as_u64() {
            metadata.insert(format!("tokenizer.ggml.{key}"), Value::U32(id as u32));
        }
    }
    let template = json(folder.join("tokenizer_config.json"))["chat_template"].clone();
    let template = match template.as_str() {
        Some(template) => template.to_owned(),
        None => fs::read_to_string(folder.join("chat_template.jinja")).unwrap(),
    };
    metadata.insert("tokenizer.chat_template".to_owned(), Value::String(template));
    let made = tempfile::tempdir().unwrap();
    match family {
        "qwen2" => metadata.extend(byte_level(&json(folder.join("tokenizer.json")))),
        _ => {
            metadata.insert("tokenizer.ggml.model".to_owned(), Value::String("llama".to_owned()));
            fs::copy(folder.join("tokenizer.json"), made.path().join("tokenizer.json")).unwrap();
        }
    }
    change(&mut metadata);

    let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let tensors: Vec<_> = weights
        .iter()
        .map(|(name, tensor)| {
            let heads = ["q_proj.weight", "k_proj.weight"].map(|part| name.ends_with(part));
            let tensor = match (family, heads) {
                ("llama", [true, _]) => permuted(tensor, config["num_attention_heads"].as_u64().unwrap()),
                ("llama", [_, true]) => permuted(tensor, config["num_key_value_heads"].as_u64().unwrap()),
                _ => tensor.to_dtype(DType::F32).unwrap(),
            };
            let kind = if tensor.rank() == 2 { kind } else { GgmlDType::F32 };
            (renamed(name), QTensor::quantize(&tensor, kind).unwrap())
        })
        .collect();
    let path = made.path().join(format!("{kind:?}.gguf"));
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &tensors).unwrap();
    Made { _folder: made, path }
}

/// llama.cpp's names.
fn renamed(name: &str) -> String {
    let mut name = name.trim_start_matches("model.").replace("layers.", "blk.");
    for (from, to) in [
        ("embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ] {
        name = name.replace(from, to);
    }
    if name == "norm.weight" { "output_norm.weight".to_owned() } else { name }
}

/// `LlamaModel.permute` of convert_hf_to_gguf.py: (heads, 2, half, columns) to (heads, half, 2, columns).
fn permuted(weight: &Tensor, heads: u64) -> Tensor {
    let (rows, columns) = weight.dims2().unwrap();
    let heads = heads as usize;
    let apart = weight.to_dtype(DType::F32).unwrap().reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    apart.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

/// A byte-level tokenizer as metadata.
fn byte_level(tokenizer: &Json) -> Vec<(String, Value)> {
    let added = tokenizer["added_tokens"].as_array().unwrap();
    let of_model =
        tokenizer["model"]["vocab"].as_object().unwrap().iter().map(|(token, id)| (id, token.as_str()));
    let special = added.iter().map(|token| (&token["id"], token["content"].as_str().unwrap()));
    let mut tokens: Vec<_> =
        of_model.chain(special).map(|(id, token)| (id.as_u64().unwrap(), token)).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let is_added = |id: u64| added.iter().any(|token| token["id"] == id);
    let text = |text: &str| Value::String(text.to_owned());
    let merge = |merge: &Json| match merge.as_str() {
        Some(merge) => text(merge),
        None => text(&format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap())),
    };
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    vec![
        ("tokenizer.ggml.model".to_owned(), text("gpt2")),
        ("tokenizer.ggml.pre".to_owned(), text("qwen2")),
        (
            "tokenizer.ggml.token_type".to_owned(),
            Value::Array(
                tokens.iter().map(|(id, _)| Value::I32(if is_added(*id) { 3 } else { 1 })).collect(),
            ),
        ),
        (
            "tokenizer.ggml.tokens".to_owned(),
            Value::Array(tokens.iter().map(|(_, token)| text(token)).collect()),
        ),
        ("tokenizer.ggml.merges".to_owned(), Value::Array(merges)),
    ]
}

/// The texts of reference.json with their hidden states.
pub(crate) fn cases(folder: &Path) -> (Vec<(String, Vec<f32>)>, f32) {
    let (reference, tolerance) = reference(folder);
    let cases = reference.get("texts").unwrap_or(&reference["prompts"]).as_array().unwrap();
    let case = |case: &Json| (case["text"].as_str().unwrap().to_owned(), numbers(&case["last_hidden_state"]));
    (cases.iter().map(case).collect(), tolerance)
}

/// |found − expected| / |expected|.
pub(crate) fn relative(found: &[f32], expected: &[f32]) -> f32 {
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    length(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / length(&mut expected.iter().copied())
}

/// Names, places of rows, tokens and settings: with float32 blocks all that is left is rounding.
#[test]
fn a_file_of_float32_blocks_meets_the_reference_of_its_folder() {
    for name in [TINY_QWEN2, BABYLLAMA] {
        let test = "a_file_of_float32_blocks_meets_the_reference_of_its_folder";
        let Some(folder) = shared_model(test, name) else { return };
        let file = made(&folder, GgmlDType::F32, |_| {});
        let backbone = open_backbone(file.spec(), &options()).unwrap();
        let (cases, tolerance) = cases(&folder);
        for (text, expected) in cases {
            let found = backbone.embed(&[Text::alone(&text)]).unwrap().remove(0);
            let difference = largest_difference(&found.vector, &expected);
            assert!(difference <= tolerance, "{name}: {difference} for {text}");
        }
        assert_eq!(backbone.record().spec, fs::canonicalize(&file.path).unwrap().to_str().unwrap());
    }
}

#[test]
fn eight_bits_a_weight_stay_within_the_stated_bound_alone_and_in_a_batch() {
    for (name, bound) in Q8_0_BOUNDS {
        let test = "eight_bits_a_weight_stay_within_the_stated_bound_alone_and_in_a_batch";
        let Some(folder) = shared_model(test, name) else { return };
        let file = made(&folder, GgmlDType::Q8_0, |_| {});
        let backbone = open_backbone(file.spec(), &options()).unwrap();
        let (cases, _) = cases(&folder);
        let found: Vec<_> = cases
            .iter()
            .map(|(text, _)| backbone.embed(&[Text::alone(text)]).unwrap().remove(0).vector)
            .collect();
        for (found, (text, expected)) in found.iter().zip(&cases) {
            let off = relative(found, expected);
            assert!(off > 0.0 && off <= bound, "{name}: {off} for {text}");
        }
        let texts: Vec<_> = cases.iter().map(|(text, _)| Text::new("Tell me a story.", text)).collect();
        in_a_batch_as_alone(&*backbone, &texts, 1e-3);
    }
}

/// The same tokens for the same conversation, and greedy text as long as no two tokens are nearly as likely.
#[test]
fn a_language_model_reads_conversations_and_writes_as_its_folder_does() {
    for name in [TINY_QWEN2, BABYLLAMA] {
        let test = "a_language_model_reads_conversations_and_writes_as_its_folder_does";
        let Some(folder) = shared_model(test, name) else { return };
        let file = made(&folder, GgmlDType::F32, |_| {});
        let from_file = LanguageModel::open(file.spec(), &options()).unwrap();
        let from_folder = LanguageModel::open(folder.to_str().unwrap(), &options()).unwrap();
        let messages = [Message { role: "user", content: "Tell me about Zoë's 12 boats, she'd like it!" }];
        let tokens = from_folder.encode_chat(&messages).unwrap();
        assert_eq!(from_file.encode_chat(&messages).unwrap(), tokens);
        assert_eq!(from_file.decode(&tokens).unwrap(), from_folder.decode(&tokens).unwrap());
        let likelihood = |model: &LanguageModel| model.log_likelihood(&tokens, &tokens).unwrap();
        let (found, expected) = (likelihood(&from_file), likelihood(&from_folder));
        assert!((found - expected).abs() < 1e-3, "{name}: {found} and {expected}");
    }
}

#[test]
fn a_folder_with_one_file_is_that_file_and_several_have_to_be_named() {
    let test = "a_folder_with_one_file_is_that_file_and_several_have_to_be_named";
    let Some(folder) = shared_model(test, TINY_QWEN2) else { return };
    let file = made(&folder, GgmlDType::Q8_0, |_| {});
    let parent = file.path.parent().unwrap();
    let by_folder = open_backbone(parent.to_str().unwrap(), &options()).unwrap();
    assert_eq!(by_folder.hash(), open_backbone(file.spec(), &options()).unwrap().hash());
    fs::copy(&file.path, parent.join("other.gguf")).unwrap();
    let error = open_backbone(parent.to_str().unwrap(), &options()).err().unwrap().to_string();
    assert!(error.contains("Q8_0.gguf") && error.contains("name the one that is meant"), "{error}");
}

#[test]
fn what_cannot_be_computed_or_read_is_named() {
    let Some(folder) = shared_model("what_cannot_be_computed_or_read_is_named", TINY_QWEN2) else { return };
    let refused = |file: &Made, options: &BackboneOptions| {
        open_backbone(file.spec(), options).err().unwrap().to_string()
    };
    for (key, value, words) in [
        ("general.architecture", Value::String("gemma".into()), "general.architecture: got \"gemma\""),
        ("qwen2.rope.scaling.type", Value::String("yarn".into()), "qwen2.rope.scaling.type: got \"yarn\""),
        ("qwen2.block_count", Value::U32(9), "tensor blk.3.attn_q.weight is missing"),
        (
            "qwen2.feed_forward_length",
            Value::U32(64),
            "tensor blk.0.ffn_gate.weight is [128, 64]; allowed: [64, 64]",
        ),
        ("qwen2.attention.head_count", Value::U32(0), "qwen2.attention.head_count: got 0"),
        ("qwen2.context_length", Value::I32(-1), "qwen2.context_length: got I32(-1)"),
        ("tokenizer.ggml.eos_token_id", Value::U32(5_000), "special token: got 5000; allowed: below 320"),
        ("tokenizer.ggml.model", Value::String("llama".into()), "or a tokenizer.json beside the file"),
    ] {
        let file = made(&folder, GgmlDType::Q8_0, |metadata| drop(metadata.insert(key.to_owned(), value)));
        let error = refused(&file, &options());
        assert!(error.contains(words) && error.contains("Q8_0.gguf"), "{error}");
    }
    let file = made(&folder, GgmlDType::Q8_0, |_| {});
    let error = refused(&file, &BackboneOptions { device: DeviceChoice::Cuda(0), ..options() });
    assert!(error.contains("quantised weights are computed on a CPU"), "{error}");
    let error = refused(&file, &BackboneOptions { dtype: FloatType::Bf16, ..options() });
    assert!(error.contains("dtype: got bfloat16; allowed with quantised weights: float32"), "{error}");

    let whole = fs::read(&file.path).unwrap();
    for end in [3, 100, whole.len() / 2, whole.len() - 40] {
        fs::write(&file.path, &whole[..end]).unwrap();
        let error = refused(&file, &options());
        assert!(error.contains("Q8_0.gguf"), "{error}");
        assert!(end < whole.len() / 2 || error.contains(&format!("the file ends at {end}")), "{error}");
    }
}
