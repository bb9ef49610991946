//! Files that are nearly right (tests/support/mutate.rs): whatever lies there, reading ends with what is wrong, and no panic.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use candle_core::quantized::GgmlDType;
use flate2::write::GzEncoder;
use pref::model::{Artifact, ArtifactLocation, ModelError, Text, open_backbone};
use pref::train::{Limits, candidate_rows, judgment_rows};
use sha2::{Digest, Sha256};

use crate::encoder::options;
use crate::made::{artifact, counting};
use crate::made_decoder::made_decoder;
use crate::mutate::Mutator;
use crate::{gguf, static_embedding};

/// The files of an artifact, and one after the other changed: the manifest as it is, a tensor file under a hash that is right, since
/// otherwise nothing but the hash would be looked at.
#[test]
fn no_artifact_makes_its_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let location = ArtifactLocation::from(folder.path());
    artifact(&*counting()).save_blocking(&location).unwrap();
    let names = ["manifest.json", "head.safetensors", "classic_head.safetensors"];
    let corpus: Vec<Vec<u8>> = names.iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect();
    let mut inputs = Mutator::new();
    while let Some((place, bytes)) = inputs.next(&corpus) {
        for (name, whole) in names.iter().zip(&corpus) {
            fs::write(folder.path().join(name), whole).unwrap();
        }
        fs::write(folder.path().join(names[place]), &bytes).unwrap();
        if place > 0 {
            let (right, wrong) =
                (hex::encode(Sha256::digest(&bytes)), hex::encode(Sha256::digest(&corpus[place])));
            let manifest = String::from_utf8(corpus[0].clone()).unwrap().replace(&wrong, &right);
            fs::write(folder.path().join(names[0]), manifest).unwrap();
        }
        let read: Result<Artifact, ModelError> = Artifact::load_blocking(&location);
        if let Ok(read) = read {
            assert!(read.head.iter().all(|weight| weight.is_finite()), "{}", hex::encode(&bytes));
        }
    }
}

/// The files of a decoder, of one in GGUF and of static embeddings, one changed at a time: it is refused, or embeds.
#[test]
fn no_backbone_makes_its_reader_panic() {
    let decoder = tempfile::tempdir().unwrap();
    made_decoder(decoder.path());
    let template = r#"{"chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}"}"#;
    fs::write(decoder.path().join("tokenizer_config.json"), template).unwrap();
    let packed = gguf::made(decoder.path(), GgmlDType::F32, |_| {});
    let vectors = static_embedding::copied();
    let of = |folder: &tempfile::TempDir, name: &str| (folder.path().join(name), folder.path().to_owned());
    let files: Vec<(PathBuf, PathBuf)> = vec![
        of(&decoder, "config.json"),
        of(&decoder, "tokenizer.json"),
        of(&decoder, "model.safetensors"),
        of(&vectors, "config.json"),
        of(&vectors, "tokenizer.json"),
        of(&vectors, "model.safetensors"),
        (packed.path.clone(), packed.path.clone()),
    ];
    let corpus: Vec<Vec<u8>> = files.iter().map(|(file, _)| fs::read(file).unwrap()).collect();
    let mut inputs = Mutator::new();
    while let Some((place, bytes)) = inputs.next(&corpus) {
        let (file, backbone) = &files[place];
        fs::write(file, &bytes).unwrap();
        if let Ok(backbone) = open_backbone(&backbone.to_string_lossy(), &options()) {
            let text = Text { prompt: "How?", response: "Like this." };
            if let Ok(embedded) = backbone.embed(&[text]) {
                assert_eq!(
                    embedded[0].vector.len(),
                    backbone.dimension(),
                    "{file:?} {}",
                    hex::encode(&bytes)
                );
            }
        }
        fs::write(file, &corpus[place]).unwrap();
    }
}

#[test]
fn no_line_makes_an_import_panic() {
    let folder = tempfile::tempdir().unwrap();
    let plain = concat!(
        r#"{"user_id": "u1", "prompt": "x", "response_a": "a \u00e9\ud83d\ude00", "response_b": "b", "preference": 0.5}"#,
        "\n",
        r#"{"user_id": "u2", "prompt": "y", "response_a": "", "response_b": "b", "preference": 1, "group": "g"}"#,
        "\n\n",
        r#"{"prompt": "z", "responses": ["a", "b", ""], "pool": "p"}"#,
        "\n"
    )
    .as_bytes()
    .to_vec();
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&plain).unwrap();
    let corpus = [plain, packed.finish().unwrap()];
    let names = ["lines.jsonl", "lines.jsonl.gz"];
    let mut inputs = Mutator::new();
    while let Some((place, bytes)) = inputs.next(&corpus) {
        let path = folder.path().join(names[place]);
        fs::write(&path, &bytes).unwrap();
        // Errors are items like others, and the first one ends a reader.
        let judged = judgment_rows(&path, Limits::default()).take_while(Result::is_ok).count();
        let listed = candidate_rows(&path, Limits::default()).take_while(Result::is_ok).count();
        assert!(judged + listed <= 2 * (1 + bytes.len()), "a line has at least its end");
    }
}
