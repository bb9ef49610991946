//! A tiny Qwen2 of made-up weights, in the layout of a folder of Hugging Face: what a test can tune anywhere.
//!
//! tests/reference/tune_step.py makes the same one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

const WIDTH: usize = 16;
const WIDE: usize = 24;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KEY_VALUE_HEADS: usize = 2;
/// Every byte, and the end of a text.
const VOCABULARY: usize = 257;

/// Numbers of ±½ by a linear congruential generator.
pub(crate) struct Numbers(pub(crate) u32);

impl Iterator for Numbers {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((self.0 >> 8) as f32 / (1 << 24) as f32 - 0.5)
    }
}

/// Writes config.json, tokenizer.json (a token is a byte) and model.safetensors.
pub(crate) fn made_decoder(folder: &Path) {
    made_decoder_of(folder, &json!({}));
}

/// The same with other fields in config.json.
pub(crate) fn made_decoder_of(folder: &Path, fields: &Value) {
    let mut config = json!({
        "model_type": "qwen2", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "eos_token_id": VOCABULARY - 1,
    });
    for (field, value) in fields.as_object().expect("fields by name") {
        config[field] = value.clone();
    }
    fs::write(folder.join("config.json"), config.to_string()).expect("the folder can be written");
    let vocabulary: BTreeMap<String, usize> =
        (0..=255u8).map(|byte| (letter(byte).to_string(), usize::from(byte))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": VOCABULARY - 1, "content": "<|end|>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
                  "merges": []},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("the folder can be written");

    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .scan(Numbers(1), |numbers, (name, shape)| {
            let count = shape.iter().product();
            // A norm's weights lie about 1.
            let centre = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let bytes = numbers.take(count).flat_map(|number| (centre + number).to_le_bytes()).collect();
            Some((name, shape, bytes))
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("four bytes a number"))
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
        .expect("it can be written");
}

/// Names and shapes in the order in which numbers are drawn.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let key_value = WIDTH / HEADS * KEY_VALUE_HEADS;
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, WIDTH]),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj.weight", vec![WIDTH, WIDTH]),
            ("self_attn.q_proj.bias", vec![WIDTH]),
            ("self_attn.k_proj.weight", vec![key_value, WIDTH]),
            ("self_attn.k_proj.bias", vec![key_value]),
            ("self_attn.v_proj.weight", vec![key_value, WIDTH]),
            ("self_attn.v_proj.bias", vec![key_value]),
            ("self_attn.o_proj.weight", vec![WIDTH, WIDTH]),
            ("mlp.gate_proj.weight", vec![WIDE, WIDTH]),
            ("mlp.up_proj.weight", vec![WIDE, WIDTH]),
            ("mlp.down_proj.weight", vec![WIDTH, WIDE]),
            ("input_layernorm.weight", vec![WIDTH]),
            ("post_attention_layernorm.weight", vec![WIDTH]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    shapes
}

/// The character that byte-level tokenizers write a byte as: itself where it is one to see, else the next free one from
/// 256 on.
fn letter(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_seen(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|byte| !is_seen(*byte)).count() as u32;
    char::from_u32(256 + hidden_before).expect("at most 256 letters from 256 on")
}
