use serde::Deserialize;

/// The shape of a ModernBERT.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModernBertConfig {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) norm_eps: f64,
    /// Of each layer: how far a token sees to either side; nothing: the whole text.
    pub(super) windows: Vec<Option<usize>>,
    /// θ of layers that see the whole text, and of the others.
    pub(super) global_rope_theta: f64,
    pub(super) local_rope_theta: f64,
}

/// `config.json` as transformers 4 and 5 write it.
#[derive(Deserialize)]
pub(super) struct ModernBertFile {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "small")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Tokens of a window, both sides together.
    #[serde(default = "window")]
    local_attention: usize,
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    /// transformers 4.
    global_rope_theta: Option<f64>,
    /// transformers 4.
    local_rope_theta: Option<f64>,
    /// transformers 5, by kind of layer.
    rope_parameters: Option<RopeParameters>,
    /// transformers 5, a kind for each layer.
    layer_types: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RopeParameters {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn small() -> f64 {
    1e-5
}

fn window() -> usize {
    128
}

fn three() -> usize {
    3
}

const GLOBAL_ROPE_THETA: f64 = 160_000.0;
const LOCAL_ROPE_THETA: f64 = 10_000.0;

impl ModernBertFile {
    /// The error is a reason for people.
    pub(super) fn architecture(self) -> Result<ModernBertConfig, String> {
        if self.hidden_activation != "gelu" {
            return Err(format!("hidden_activation: got {:?}; allowed: \"gelu\"", self.hidden_activation));
        }
        let biases = [
            ("norm_bias", self.norm_bias),
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
        ];
        if let Some((field, _)) = biases.iter().find(|(_, given)| *given) {
            return Err(format!("{field}: got true; allowed: false"));
        }
        let (d, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || d == 0 || !d.is_multiple_of(2 * heads) {
            return Err(format!(
                "num_attention_heads: got {heads} for hidden_size {d}; allowed: a divisor of it that leaves an even width"
            ));
        }
        let (global, local) =
            self.rope_parameters.map_or((None, None), |rope| (rope.full_attention, rope.sliding_attention));
        Ok(ModernBertConfig {
            vocab_size: self.vocab_size,
            hidden_size: d,
            intermediate_size: self.intermediate_size,
            num_attention_heads: heads,
            max_position_embeddings: self.max_position_embeddings,
            norm_eps: self.norm_eps,
            windows: windows(
                self.num_hidden_layers,
                self.layer_types.as_deref(),
                self.global_attn_every_n_layers,
                self.local_attention / 2,
            )?,
            global_rope_theta: theta(global, self.global_rope_theta, GLOBAL_ROPE_THETA)?,
            local_rope_theta: theta(local, self.local_rope_theta, LOCAL_ROPE_THETA)?,
        })
    }
}

fn windows(
    layers: usize,
    kinds: Option<&[String]>,
    every: usize,
    reach: usize,
) -> Result<Vec<Option<usize>>, String> {
    let Some(kinds) = kinds else {
        if every == 0 {
            return Err("global_attn_every_n_layers: got 0; allowed: at least 1".to_owned());
        }
        return Ok((0..layers).map(|layer| (layer % every != 0).then_some(reach)).collect());
    };
    if kinds.len() != layers {
        return Err(format!("layer_types: got {}; allowed: {layers}, one a layer", kinds.len()));
    }
    let window = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(None),
        "sliding_attention" => Ok(Some(reach)),
        other => Err(format!("layer_types: got {other:?}; allowed: full_attention, sliding_attention")),
    };
    kinds.iter().map(window).collect()
}

fn theta(rope: Option<Rope>, older: Option<f64>, default: f64) -> Result<f64, String> {
    if let Some(kind) =
        rope.as_ref().and_then(|rope| rope.rope_type.as_deref()).filter(|kind| *kind != "default")
    {
        return Err(format!("rope_type: got {kind:?}; allowed: \"default\""));
    }
    let theta = rope.and_then(|rope| rope.rope_theta).or(older).unwrap_or(default);
    if !(theta.is_finite() && theta > 1.0) {
        return Err(format!("rope_theta: got {theta}; allowed: above 1"));
    }
    Ok(theta)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(fields: Value) -> Result<ModernBertConfig, String> {
        let mut config = json!({"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
            "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 512});
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value::<ModernBertFile>(config).unwrap().architecture()
    }

    #[test]
    fn transformers_4_and_5_write_the_same_model() {
        let four =
            with(json!({"global_attn_every_n_layers": 3, "local_attention": 128, "global_rope_theta": 1e5,
            "local_rope_theta": 1e4}));
        let (full, sliding) = ("full_attention", "sliding_attention");
        let five = with(json!({"layer_types": [full, sliding, sliding, full], "rope_parameters": {
            full: {"rope_type": "default", "rope_theta": 1e5}, sliding: {"rope_type": "default", "rope_theta": 1e4}}}));
        assert_eq!(four, five);
        assert_eq!(four.unwrap().windows, [None, Some(64), Some(64), None]);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_field() {
        for (fields, words) in [
            (json!({"norm_bias": true}), "norm_bias: got true; allowed: false"),
            (json!({"hidden_activation": "relu"}), "hidden_activation: got \"relu\""),
            (json!({"num_attention_heads": 5}), "num_attention_heads: got 5 for hidden_size 24"),
            (json!({"global_attn_every_n_layers": 0}), "global_attn_every_n_layers: got 0"),
            (json!({"layer_types": ["full_attention"]}), "layer_types: got 1; allowed: 4"),
            (
                json!({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}),
                "rope_type: got \"yarn\"",
            ),
            (json!({"local_rope_theta": 0.5}), "rope_theta: got 0.5; allowed: above 1"),
        ] {
            let error = with(fields).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
