//! BERT-type encoders: reference.json of the tiny random BERT, truncation, concatenation, damaged folders.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pref::model::{Backbone, BackboneOptions, DeviceChoice, ModelError, Text, open_backbone};
use serde_json::Value;

use crate::shared_model;

const TINY_BERT: &str = "tiny-random-bert";

pub(crate) fn options() -> BackboneOptions {
    BackboneOptions { device: DeviceChoice::Cpu, offline: true, ..BackboneOptions::default() }
}

pub(crate) fn open(folder: &Path) -> Result<Arc<dyn Backbone>, ModelError> {
    open_backbone(&folder.to_string_lossy(), &options())
}

pub(crate) fn error_of(folder: &Path) -> String {
    open(folder).err().expect("the folder is damaged").to_string()
}

pub(crate) fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

pub(crate) fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// transformers and torch computed reference.json; the largest difference seen was 1.2e-7.
#[test]
fn meets_the_reference_alone_in_a_padded_batch_and_truncated() {
    let Some(folder) = shared_model("meets_the_reference_alone_in_a_padded_batch_and_truncated", TINY_BERT)
    else {
        return;
    };
    let reference: Value = serde_json::from_slice(&fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let tolerance = reference["tolerance"].as_f64().unwrap() as f32;
    let backbone = open(&folder).unwrap();
    let cases = reference["texts"].as_array().unwrap().iter().chain([&reference["truncated"]]);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let embedding = backbone.embed(&[Text::alone(text)]).unwrap().remove(0);
        assert_eq!(embedding.tokens, case["token_ids"].as_array().unwrap().len(), "{text}");
        let difference = largest_difference(&embedding.vector, &numbers(&case["embedding"]));
        assert!(difference <= tolerance, "{difference} for {text}");
    }

    let texts: Vec<_> =
        reference["texts"].as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap()).collect();
    let batch: Vec<_> = texts.iter().map(|text| Text::alone(text)).collect();
    let expected = reference["batch"]["embedding"].as_array().unwrap();
    for ((embedding, expected), text) in backbone.embed(&batch).unwrap().iter().zip(expected).zip(texts) {
        let difference = largest_difference(&embedding.vector, &numbers(expected));
        assert!(difference <= tolerance, "{difference} in the batch for {text}");
    }
}

#[test]
fn a_batch_of_mixed_lengths_gives_what_each_text_gives_alone() {
    let test = "a_batch_of_mixed_lengths_gives_what_each_text_gives_alone";
    let Some(folder) = shared_model(test, TINY_BERT) else { return };
    let backbone = open(&folder).unwrap();
    let words = ["boat", "red", "letter", "a", "recipe", "library", "please", "shiny"];
    let texts: Vec<String> = (0..150)
        .map(|n| (0..(n * 7) % 90).map(|k| words[(n + k * k) % words.len()]).collect::<Vec<_>>().join(" "))
        .collect();
    let texts: Vec<_> = texts.iter().map(|text| Text::alone(text)).collect();
    in_a_batch_as_alone(&*backbone, &texts, 1e-5);
}

/// Every text's embedding in one call with the others is what it is alone.
pub(crate) fn in_a_batch_as_alone(backbone: &dyn Backbone, texts: &[Text<'_>], tolerance: f32) {
    let together = backbone.embed(texts).unwrap();
    assert_eq!(together.len(), texts.len());
    for (text, of_batch) in texts.iter().zip(&together) {
        let alone = backbone.embed(&[*text]).unwrap().remove(0);
        assert_eq!(alone.tokens, of_batch.tokens);
        let difference = largest_difference(&alone.vector, &of_batch.vector);
        assert!(difference <= tolerance, "{difference} for {text:?}");
    }
}

#[test]
fn a_long_prompt_is_cut_from_its_left_once_for_all_its_responses() {
    let test = "a_long_prompt_is_cut_from_its_left_once_for_all_its_responses";
    let Some(folder) = shared_model(test, TINY_BERT) else { return };
    let backbone = open(&folder).unwrap();
    let prompt = format!("{}the shiny red boat", "what is a letter ".repeat(60));
    let (short, long) = ("yes", "a recipe and a letter ".repeat(4));
    let group = [Text::new(&prompt, short), Text::new(&prompt, &long)];
    assert!(!backbone.fits(&group).unwrap());
    let embeddings = backbone.embed(&group).unwrap();
    let [short_tokens, long_tokens] = [embeddings[0].tokens, embeddings[1].tokens];
    assert!(long_tokens <= 128 && long_tokens > 110, "the longest response fills the room: {long_tokens}");
    assert!(short_tokens < long_tokens, "the shorter one follows the same prompt, not a longer one");
    // What is kept is the prompt's end: another beginning changes nothing, another end does.
    let other = prompt.replacen("what is a letter", "please a library of", 1);
    let same = backbone.embed(&[Text::new(&other, short), Text::new(&other, &long)]).unwrap();
    assert_eq!(same, embeddings);
    let other = prompt.replace("shiny", "red");
    assert_ne!(backbone.embed(&[Text::new(&other, short), Text::new(&other, &long)]).unwrap(), embeddings);
}

#[test]
fn a_long_response_leaves_the_prompt_its_share() {
    let Some(folder) = shared_model("a_long_response_leaves_the_prompt_its_share", TINY_BERT) else { return };
    let backbone = open(&folder).unwrap();
    let response = "a recipe and a letter ".repeat(60);
    let of = |prompt: &str| backbone.embed(&[Text::new(prompt, &response)]).unwrap().remove(0);
    assert_eq!(of("red boat").tokens, 128);
    assert_ne!(of("red boat").vector, of("blue boat").vector);
    let empty = backbone.embed(&[Text::new("red boat", ""), Text::alone("")]).unwrap();
    assert_eq!(empty[1].tokens, 2);
}

#[test]
fn another_template_is_another_backbone() {
    let Some(folder) = shared_model("another_template_is_another_backbone", TINY_BERT) else { return };
    let spec = folder.to_string_lossy();
    let with = |template: &str| {
        open_backbone(&spec, &BackboneOptions { template: Some(template.to_owned()), ..options() })
    };
    let (plain, marked) = (open(&folder).unwrap(), with("query: {prompt} passage: {response}.").unwrap());
    assert_ne!(plain.hash(), marked.hash());
    assert_eq!(marked.record().template.as_deref(), Some("query: {prompt} passage: {response}."));
    let templated = marked.embed(&[Text::new("a boat", "a letter")]).unwrap();
    assert_eq!(templated, plain.embed(&[Text::alone("query: a boat passage: a letter.")]).unwrap());
    for bad in ["{prompt}", "{response} {prompt}", "{prompt} {prompt} {response}", ""] {
        assert!(matches!(with(bad), Err(ModelError::Template { .. })), "{bad:?}");
    }
}

#[test]
fn joined_backbones_concatenate_their_embeddings() {
    let Some(folder) = shared_model("joined_backbones_concatenate_their_embeddings", TINY_BERT) else {
        return;
    };
    let bert = open(&folder).unwrap();
    let lexical = open_backbone("lexical", &options()).unwrap();
    let both = open_backbone(&format!("{}+lexical", folder.display()), &options()).unwrap();
    let texts = [Text::new("What is it?", "A shiny red boat."), Text::new("What is it?", "")];
    assert_eq!(both.dimension(), bert.dimension() + lexical.dimension());
    let parts = bert.embed(&texts).unwrap().into_iter().zip(lexical.embed(&texts).unwrap());
    for (whole, (first, second)) in both.embed(&texts).unwrap().into_iter().zip(parts) {
        assert_eq!(whole.vector, [first.vector, second.vector].concat());
    }
    assert_ne!(both.hash(), bert.hash());
    let again = open_backbone(&both.record().spec, &options()).unwrap();
    assert_eq!(again.hash(), both.hash());
}

#[test]
fn a_damaged_folder_says_which_file_and_why() {
    let Some(folder) = shared_model("a_damaged_folder_says_which_file_and_why", TINY_BERT) else { return };
    // Each case: a name, what to do to a copy of the folder, what the error has to say.
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 9] = [
        ("weights cut short", |f| cut(&f.join("model.safetensors")), &["model.safetensors"]),
        (
            "weights of noise",
            |f| fs::write(f.join("model.safetensors"), [7u8; 999]).unwrap(),
            &["model.safetensors"],
        ),
        (
            "no weights",
            |f| fs::remove_file(f.join("model.safetensors")).unwrap(),
            &["model.safetensors", "missing"],
        ),
        (
            "no tokenizer",
            |f| fs::remove_file(f.join("tokenizer.json")).unwrap(),
            &["tokenizer.json", "missing"],
        ),
        ("tokenizer cut short", |f| cut(&f.join("tokenizer.json")), &["tokenizer.json"]),
        ("no config", |f| fs::remove_file(f.join("config.json")).unwrap(), &["config.json", "missing"]),
        (
            "wrong width",
            |f| edit(f, "config.json", "hidden_size", 64.into()),
            &["model.safetensors", "shape"],
        ),
        (
            "wrong family",
            |f| edit(f, "config.json", "model_type", "t5".into()),
            &["model_type", "t5", "bert"],
        ),
        (
            "too many tokens",
            |f| edit(f, "sentence_bert_config.json", "max_seq_length", 4096.into()),
            &["max_seq_length", "4096", "128"],
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
    let small = copy_of(&folder);
    edit(small.path(), "config.json", "vocab_size", 300.into());
    assert!(error_of(small.path()).contains("token id"), "a vocabulary smaller than the tokenizer's");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let Some(folder) = shared_model("weights_that_are_not_finite_are_refused", TINY_BERT) else { return };
    let copy = copy_of(&folder);
    let path = copy.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&f32::NAN.to_le_bytes()));
    fs::write(&path, bytes).unwrap();
    assert!(error_of(copy.path()).contains("not finite"));
}

#[test]
fn pooling_of_the_first_token_is_another_embedding_and_without_normalize_its_length_is_free() {
    let test = "pooling_of_the_first_token_is_another_embedding_and_without_normalize_its_length_is_free";
    let Some(folder) = shared_model(test, TINY_BERT) else { return };
    let copy = copy_of(&folder);
    edit(copy.path(), "1_Pooling/config.json", "pooling_mode_mean_tokens", false.into());
    edit(copy.path(), "1_Pooling/config.json", "pooling_mode_cls_token", true.into());
    let modules: Vec<Value> =
        serde_json::from_slice(&fs::read(copy.path().join("modules.json")).unwrap()).unwrap();
    fs::write(copy.path().join("modules.json"), serde_json::to_vec(&modules[..2]).unwrap()).unwrap();
    let backbone = open(copy.path()).unwrap();
    assert_eq!(backbone.record().pooling.as_deref(), Some("cls"));
    let vector = backbone.embed(&[Text::alone("a boat")]).unwrap().remove(0).vector;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.1, "{length}");
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        fs::write(copy.path().join(file), fs::read(folder.join(file)).unwrap()).unwrap();
    }
    copy
}

pub(crate) fn cut(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

pub(crate) fn edit(folder: &Path, file: &str, field: &str, value: Value) {
    let path = folder.join(file);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json[field] = value;
    fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
}
