//! Causal language models: reference.json of the tiny random Qwen2 and of BabyLlama, shared prompts, folders of other
//! layouts, damaged folders.

use std::fs;
use std::path::Path;

use pref::model::{BackboneOptions, FloatType, Text, open_backbone};
use serde_json::{Value, json};

use crate::encoder::{cut, edit, error_of, in_a_batch_as_alone, largest_difference, numbers, open, options};
use crate::gguf::{cases, relative};
use crate::made_decoder::made_decoder_of;
use crate::shared_model;

pub(crate) const TINY_QWEN2: &str = "tiny-random-qwen2";
pub(crate) const BABYLLAMA: &str = "babyllama";

pub(crate) fn reference(folder: &Path) -> (Value, f32) {
    let reference: Value = serde_json::from_slice(&fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let tolerance = reference["tolerance"].as_f64().unwrap() as f32;
    (reference, tolerance)
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::write(copy.path().join(file), fs::read(folder.join(file)).unwrap()).unwrap();
    }
    copy
}

/// Each case's text alone: the number of its tokens, and the hidden state of the last.
fn meets(folder: &Path, cases: &Value, tolerance: f32) {
    let backbone = open(folder).unwrap();
    assert_eq!(backbone.record().pooling.as_deref(), Some("last"));
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let embedding = backbone.embed(&[Text::alone(text)]).unwrap().remove(0);
        assert_eq!(embedding.tokens, case["token_ids"].as_array().unwrap().len(), "{text}");
        let difference = largest_difference(&embedding.vector, &numbers(&case["last_hidden_state"]));
        assert!(difference <= tolerance, "{difference} for {text}");
    }
}

/// transformers and torch computed reference.json; the largest difference seen was 1.2e-5.
#[test]
fn qwen2_meets_the_reference_alone_rendered_and_in_a_padded_batch() {
    let test = "qwen2_meets_the_reference_alone_rendered_and_in_a_padded_batch";
    let Some(folder) = shared_model(test, TINY_QWEN2) else { return };
    let (reference, tolerance) = reference(&folder);
    meets(&folder, &reference["texts"], tolerance);
    meets(&folder, &reference["chat"], tolerance);

    let backbone = open(&folder).unwrap();
    let cases = reference["texts"].as_array().unwrap();
    let texts: Vec<_> = cases.iter().map(|case| Text::alone(case["text"].as_str().unwrap())).collect();
    let batch = &reference["batch"];
    let (rows, last) = (batch["last_hidden_state"].as_array().unwrap(), &batch["last_real_position"]);
    for (index, embedding) in backbone.embed(&texts).unwrap().iter().enumerate() {
        assert_eq!(embedding.tokens as u64, last[index].as_u64().unwrap() + 1);
        let difference = largest_difference(&embedding.vector, &numbers(&rows[index]));
        assert!(difference <= tolerance, "{difference} in the batch for {:?}", texts[index]);
    }
}

/// The largest difference seen was 8e-6.
#[test]
fn llama_meets_the_reference() {
    let Some(folder) = shared_model("llama_meets_the_reference", BABYLLAMA) else { return };
    let (reference, tolerance) = reference(&folder);
    meets(&folder, &reference["prompts"], tolerance);
}

/// decoders.json is from transformers in float64 (tests/reference/decoders.py); the texts reach far beyond the positions that
/// scaling leaves as they are.
#[test]
fn rotary_positions_are_scaled_as_in_transformers() {
    let cases: Value = serde_json::from_str(include_str!("../reference/decoders.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        made_decoder_of(folder.path(), &case["config"]);
        let backbone = open(folder.path()).unwrap();
        for text in case["texts"].as_array().unwrap() {
            let found = backbone.embed(&[Text::alone(text["text"].as_str().unwrap())]).unwrap().remove(0);
            let difference = largest_difference(&found.vector, &numbers(&text["last_hidden_state"]));
            assert!(difference <= 1e-4, "{difference} for {} {}", case["config"], text["text"]);
        }
    }
}

/// The largest difference seen was 4e-6.
#[test]
fn answers_to_one_prompt_are_what_each_is_alone() {
    let test = "answers_to_one_prompt_are_what_each_is_alone";
    let Some(folder) = shared_model(test, TINY_QWEN2) else { return };
    let backbone = open(&folder).unwrap();
    let (long, short) = ("Tell me about boats and the sea. ".repeat(6), "Hi!".to_owned());
    let answers = ["", "A", "A boat floats.", "A boat floats, and so does a letter.", "\n", "A boat floats."];
    let texts: Vec<_> =
        answers.iter().flat_map(|answer| [&long, &short].map(|prompt| Text::new(prompt, answer))).collect();
    in_a_batch_as_alone(&*backbone, &texts, 1e-4);
}

#[test]
fn a_prompt_too_long_is_cut_from_its_left_once_for_all_its_answers() {
    let test = "a_prompt_too_long_is_cut_from_its_left_once_for_all_its_answers";
    let Some(folder) = shared_model(test, BABYLLAMA) else { return };
    let backbone = open(&folder).unwrap();
    let prompt = format!("{}The end.", "Once upon a time there was a boat. ".repeat(12));
    let group = [Text::new(&prompt, "Yes."), Text::new(&prompt, "A red boat sailed to the sea.")];
    assert!(!backbone.fits(&group).unwrap());
    let embeddings = backbone.embed(&group).unwrap();
    assert!((230..=256).contains(&embeddings[1].tokens), "{}", embeddings[1].tokens);
    assert!(embeddings[0].tokens < embeddings[1].tokens, "both after the same prompt");
    let other = prompt.replacen("Once", "Then", 1);
    let same = [Text::new(&other, "Yes."), Text::new(&other, "A red boat sailed to the sea.")];
    assert_eq!(backbone.embed(&same).unwrap(), embeddings);
}

#[test]
fn an_empty_text_is_read_as_the_token_that_documents_begin_with() {
    let test = "an_empty_text_is_read_as_the_token_that_documents_begin_with";
    let Some(folder) = shared_model(test, TINY_QWEN2) else { return };
    let of = |folder: &Path, text| open(folder).unwrap().embed(&[Text::alone(text)]).unwrap().remove(0);
    assert_eq!(of(&folder, ""), of(&folder, "<|endoftext|>"));
    // Several tokens that end a text: the first.
    let copy = copy_of(&folder);
    edit(copy.path(), "config.json", "bos_token_id", Value::Null);
    edit(copy.path(), "config.json", "eos_token_id", json!([319, 317]));
    assert_eq!(of(copy.path(), ""), of(&folder, "<|im_end|>"));
    edit(copy.path(), "config.json", "eos_token_id", Value::Null);
    assert!(error_of(copy.path()).contains("eos_token_id"));
    edit(copy.path(), "config.json", "eos_token_id", json!(320));
    assert!(error_of(copy.path()).contains("got 320; allowed: below 320"));
}

#[test]
fn shards_give_what_the_whole_file_gives() {
    let Some(folder) = shared_model("shards_give_what_the_whole_file_gives", TINY_QWEN2) else { return };
    let copy = copy_of(&folder);
    let whole = copy.path().join("model.safetensors");
    let bytes = fs::read(&whole).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let part: Vec<_> = tensors.iter().skip(shard).step_by(2).map(|(name, view)| (name, view)).collect();
        map.extend(part.iter().map(|(tensor, _)| ((*tensor).clone(), name.clone().into())));
        safetensors::serialize_to_file(part, None, &copy.path().join(name)).unwrap();
    }
    fs::remove_file(&whole).unwrap();
    let index = copy.path().join("model.safetensors.index.json");
    fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    let text = [Text::new("Tell me about boats.", "They float.")];
    let expected = open(&folder).unwrap().embed(&text).unwrap();
    assert_eq!(open(copy.path()).unwrap().embed(&text).unwrap(), expected);
    fs::remove_file(copy.path().join("model-00002-of-00002.safetensors")).unwrap();
    let error = error_of(copy.path());
    assert!(error.contains("model-00002-of-00002.safetensors") && error.contains("missing"), "{error}");
}

/// As transformers 5 writes it, it is the same model; a sentence-transformers folder says how to pool.
#[test]
fn layouts_of_other_versions_are_read() {
    let Some(folder) = shared_model("layouts_of_other_versions_are_read", TINY_QWEN2) else { return };
    let text = [Text::alone("A boat floats.")];
    let expected = open(&folder).unwrap().embed(&text).unwrap();
    let copy = copy_of(&folder);
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let config_fields = config.as_object_mut().unwrap();
    config_fields.remove("rope_theta");
    config_fields.remove("torch_dtype");
    config_fields.insert("dtype".into(), "float32".into());
    config_fields.insert("rope_parameters".into(), json!({"rope_type": "default", "rope_theta": 1e6}));
    fs::write(&path, config.to_string()).unwrap();
    assert_eq!(open(copy.path()).unwrap().embed(&text).unwrap(), expected);

    fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    fs::write(copy.path().join("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#).unwrap();
    let modules = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
                         {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                         {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]);
    fs::write(copy.path().join("modules.json"), modules.to_string()).unwrap();
    let mean = open(copy.path()).unwrap();
    assert_eq!(mean.record().pooling.as_deref(), Some("mean"));
    let vector = mean.embed(&text).unwrap().remove(0).vector;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() <= 1e-5, "{length}");
    assert!(largest_difference(&vector, &expected[0].vector) > 0.1);
}

#[test]
fn a_damaged_folder_says_which_file_and_field() {
    let Some(folder) = shared_model("a_damaged_folder_says_which_file_and_field", TINY_QWEN2) else { return };
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 8] = [
        ("weights cut short", |f| cut(&f.join("model.safetensors")), &["model.safetensors"]),
        (
            "wrong width",
            |f| edit(f, "config.json", "hidden_size", 32.into()),
            &["model.safetensors", "shape"],
        ),
        (
            "no tokenizer",
            |f| fs::remove_file(f.join("tokenizer.json")).unwrap(),
            &["tokenizer.json", "missing"],
        ),
        (
            "another family",
            |f| edit(f, "config.json", "model_type", "mamba".into()),
            &["config.json", "model_type", "mamba", "llama", "qwen2"],
        ),
        (
            "scaled positions",
            |f| edit(f, "config.json", "rope_scaling", json!({"rope_type": "yarn", "factor": 8.0})),
            &["config.json", "rope_type", "yarn", "llama3"],
        ),
        (
            "a tokenizer at which its library panics",
            |f| fs::write(f.join("tokenizer.json"), r#"{"version": "1.0", "decoder": {"type":"#).unwrap(),
            &["tokenizer.json", "damaged"],
        ),
        (
            "a vocabulary too small",
            |f| edit(f, "config.json", "vocab_size", 318.into()),
            &["tokenizer.json", "319"],
        ),
        (
            "heads that do not share",
            |f| edit(f, "config.json", "num_key_value_heads", 3.into()),
            &["config.json", "num_key_value_heads", "3"],
        ),
    ];
    for (name, damage, words) in cases {
        let copy = copy_of(&folder);
        damage(copy.path());
        let error = error_of(copy.path());
        for word in words {
            assert!(error.contains(word), "{name}: {error}");
        }
    }
}

#[test]
fn a_template_goes_around_prompt_and_answer() {
    let Some(folder) = shared_model("a_template_goes_around_prompt_and_answer", TINY_QWEN2) else { return };
    let template = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{response}<|im_end|>";
    let with = BackboneOptions { template: Some(template.to_owned()), ..options() };
    let (plain, chat) = (open(&folder).unwrap(), open_backbone(&folder.to_string_lossy(), &with).unwrap());
    assert_ne!(plain.hash(), chat.hash());
    let rendered = template.replace("{prompt}", "A boat?").replace("{response}", "It floats.");
    assert_eq!(
        chat.embed(&[Text::new("A boat?", "It floats.")]).unwrap(),
        plain.embed(&[Text::alone(&rendered)]).unwrap()
    );
}

#[test]
fn the_chat_template_of_the_folder_gives_what_transformers_renders() {
    let test = "the_chat_template_of_the_folder_gives_what_transformers_renders";
    let chat = BackboneOptions { template: Some("chat".to_owned()), ..options() };
    for (model, written) in [
        (
            TINY_QWEN2,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n\
             <|im_start|>assistant\n{response}<|im_end|>\n",
        ),
        // Its <s> comes from the tokenizer.
        (BABYLLAMA, "{prompt} {response}"),
    ] {
        let Some(folder) = shared_model(test, model) else { return };
        let (reference, tolerance) = reference(&folder);
        let case = &reference["chat"][0];
        let content = |index: usize| case["messages"][index]["content"].as_str().unwrap();
        let backbone = open_backbone(&folder.to_string_lossy(), &chat).unwrap();
        let record = backbone.record();
        assert_eq!(record.template.as_deref(), Some(written));
        let embedding = backbone.embed(&[Text::new(content(0), content(1))]).unwrap().remove(0);
        assert_eq!(embedding.tokens, case["token_ids"].as_array().unwrap().len());
        if model == TINY_QWEN2 {
            let difference = largest_difference(&embedding.vector, &numbers(&case["last_hidden_state"]));
            assert!(difference <= tolerance, "{difference}");
        }
        // What the manifest keeps opens the same backbone.
        let again = BackboneOptions { template: record.template, ..options() };
        assert_eq!(open_backbone(&record.spec, &again).unwrap().hash(), backbone.hash());
    }
}

#[test]
fn a_chat_template_that_fails_says_where_and_why() {
    let Some(folder) = shared_model("a_chat_template_that_fails_says_where_and_why", TINY_QWEN2) else {
        return;
    };
    let chat = BackboneOptions { template: Some("chat".to_owned()), ..options() };
    let error = |template: &Value| {
        let copy = copy_of(&folder);
        let config = json!({"chat_template": template}).to_string();
        fs::write(copy.path().join("tokenizer_config.json"), config).unwrap();
        open_backbone(&copy.path().to_string_lossy(), &chat).err().expect("it fails").to_string()
    };
    for (template, word) in [
        (Value::Null, "chat_template: got none"),
        (json!("{% for m in %}"), "syntax error"),
        (json!("{{ raise_exception('no answers here') }}"), "no answers here"),
        (json!("{{ messages[0]['content'] }}"), "allowed"),
        (json!([{"name": "tools", "template": "x"}]), "default"),
    ] {
        let error = error(&template);
        assert!(error.contains("tokenizer_config.json") && error.contains(word), "{template}: {error}");
    }
}

/// bfloat16 keeps 8 bits of a number: the largest seen was .04 (Qwen2, whose weights were drawn large) and .008.
#[test]
fn half_precision_is_near_and_another_backbone() {
    for (name, bound) in [(TINY_QWEN2, 0.1), (BABYLLAMA, 0.03)] {
        let Some(folder) = shared_model("half_precision_is_near_and_another_backbone", name) else { return };
        let whole = open(&folder).unwrap();
        for dtype in [FloatType::Bf16, FloatType::F16] {
            let half =
                open_backbone(folder.to_str().unwrap(), &BackboneOptions { dtype, ..options() }).unwrap();
            assert_ne!(half.hash(), whole.hash());
            assert_eq!(half.record().dtype, Some(dtype));
            for (text, expected) in cases(&folder).0 {
                let off = relative(&half.embed(&[Text::alone(&text)]).unwrap()[0].vector, &expected);
                assert!(off > 0.0 && off <= bound, "{name} {dtype}: {off} for {text}");
            }
        }
    }
}
