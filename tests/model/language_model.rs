//! The language model of a folder, and the generator on top of it: transformers' figures, what is drawn, and who leaves.

use std::path::Path;
use std::sync::Arc;

use pref::generate::{
    Completion, Finish, GenerateError, Generator, Guidance, LocalConfig, LocalGenerator, Prompt, Request,
    Sampling,
};
use pref::model::{Extension, LanguageModel, Message, ModelError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::causal::{BABYLLAMA, TINY_QWEN2, reference};
use crate::encoder::{largest_difference, numbers, options};
use crate::made_decoder::made_decoder;
use crate::shared_model;

fn open(folder: &Path) -> LanguageModel {
    LanguageModel::open(folder.to_str().unwrap(), &options()).unwrap()
}

fn start(folder: &Path, sequences: usize) -> LocalGenerator {
    LocalGenerator::start(Arc::new(open(folder)), LocalConfig { sequences, ..LocalConfig::default() })
        .unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The hidden state and the logits after the last of `tokens`.
fn after(model: &LanguageModel, tokens: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let mut sequence = model.sequence().unwrap();
    let extension = Extension { sequence: &mut sequence, tokens, alternatives: false };
    let hidden = model.extend(&mut [extension]).unwrap();
    let last = hidden.len() - 1;
    (hidden.row(last).unwrap(), model.logits(&hidden, &[last]).unwrap().remove(0))
}

/// Beside the logits after each token, one at a time.
#[test]
fn a_text_is_as_likely_as_its_tokens_are() {
    for name in [BABYLLAMA, TINY_QWEN2] {
        let Some(folder) = shared_model("a_text_is_as_likely_as_its_tokens_are", name) else { return };
        let model = open(&folder);
        let vocabulary = model.vocabulary() as u32;
        // Longer than a piece where the model can read as much.
        let count = model.context().min(LanguageModel::PIECE + 12) as u32;
        let all: Vec<u32> = (0..count).map(|n| (n * n + 3 * n) % vocabulary.min(50)).collect();
        let (prompt, tokens) = all.split_at(5);
        let whole = model.log_likelihood(prompt, tokens).unwrap();
        let (first, rest) = tokens.split_at(9);
        let parts =
            model.log_likelihood(prompt, first).unwrap() + model.log_likelihood(&all[..14], rest).unwrap();
        assert!((whole - parts).abs() <= 1e-3 * whole.abs(), "{whole} {parts}");
        let one_by_one: f64 = (0..9)
            .map(|at| {
                let (_, logits) = after(&model, &all[..5 + at]);
                let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
                f64::from(logits[first[at] as usize]) - sum.ln()
            })
            .sum();
        let together = model.log_likelihood(prompt, first).unwrap();
        assert!((together - one_by_one).abs() <= 1e-4 * one_by_one.abs(), "{together} {one_by_one}");
        assert_eq!(model.log_likelihood(prompt, &[]).unwrap(), 0.0);
    }
}

fn raw(prompt: &str, sampling: Sampling) -> Request {
    Request { prompt: Prompt::Raw(prompt.to_owned()), count: 1, sampling, seed: 0, guidance: None }
}

fn greedy(max_tokens: usize) -> Sampling {
    Sampling { temperature: 0.0, max_tokens, ..Sampling::default() }
}

async fn one(generator: &LocalGenerator, request: Request) -> Completion {
    generator.generate(request).unwrap().all().await.unwrap().remove(0)
}

#[test]
fn token_ids_hidden_states_and_logits_are_those_of_transformers() {
    let test = "token_ids_hidden_states_and_logits_are_those_of_transformers";
    for (name, cases) in [(BABYLLAMA, "prompts"), (TINY_QWEN2, "texts")] {
        let Some(folder) = shared_model(test, name) else { return };
        let (reference, tolerance) = reference(&folder);
        let model = open(&folder);
        for case in reference[cases].as_array().unwrap() {
            let tokens = model.encode(case["text"].as_str().unwrap()).unwrap();
            assert_eq!(tokens, ids(&case["token_ids"]));
            let (hidden, logits) = after(&model, &tokens);
            assert!(largest_difference(&hidden, &numbers(&case["last_hidden_state"])) <= tolerance);
            assert!(largest_difference(&logits, &numbers(&case["last_logits"])) <= tolerance);
        }
        for case in reference["chat"].as_array().unwrap() {
            if case["add_generation_prompt"] == true {
                let messages = case["messages"].as_array().unwrap();
                let text = |message: &'_ Value, field: &str| message[field].as_str().unwrap().to_owned();
                let messages: Vec<_> =
                    messages.iter().map(|one| (text(one, "role"), text(one, "content"))).collect();
                let messages: Vec<_> =
                    messages.iter().map(|(role, content)| Message { role, content }).collect();
                assert_eq!(model.encode_chat(&messages).unwrap(), ids(&case["token_ids"]));
            }
        }
    }
}

#[tokio::test]
async fn greedy_text_is_that_of_transformers() {
    let Some(folder) = shared_model("greedy_text_is_that_of_transformers", BABYLLAMA) else { return };
    let (reference, _) = reference(&folder);
    let generator = start(&folder, 8);
    for case in reference["prompts"].as_array().unwrap() {
        let prompt = case["text"].as_str().unwrap();
        let expected = ids(&case["greedy_token_ids"]);
        let completion = one(&generator, raw(prompt, greedy(expected.len()))).await;
        assert_eq!(completion.tokens.unwrap(), expected);
        assert_eq!(format!("{prompt}{}", completion.text), case["greedy_text"].as_str().unwrap());
        assert_eq!(completion.finish, Finish::Length);
    }
}

/// Each alternative's row is what a sequence that ends with it has; the one that is kept goes on as that sequence does.
#[test]
fn alternatives_do_not_see_each_other() {
    let Some(folder) = shared_model("alternatives_do_not_see_each_other", TINY_QWEN2) else { return };
    let model = open(&folder);
    // Longer than a piece of a prompt.
    let prompt: Vec<u32> = (0..300).map(|n| (n * n + 3 * n) % 300).collect();
    let alternatives = [5, 17, 200, 9];
    let mut sequence = model.sequence().unwrap();
    model.extend(&mut [Extension { sequence: &mut sequence, tokens: &prompt, alternatives: false }]).unwrap();
    let mut fork = sequence.fork().unwrap();
    let mut extensions = [
        Extension { sequence: &mut sequence, tokens: &alternatives, alternatives: true },
        Extension { sequence: &mut fork, tokens: &[33, 34], alternatives: false },
    ];
    let hidden = model.extend(&mut extensions).unwrap();
    assert_eq!(hidden.len(), 6);
    for (row, &token) in alternatives.iter().enumerate() {
        let (expected, _) = after(&model, &[&prompt[..], &[token]].concat());
        assert!(largest_difference(&hidden.row(row).unwrap(), &expected) <= 1e-4, "{token}");
    }
    let (expected, _) = after(&model, &[&prompt[..], &[33, 34]].concat());
    assert!(largest_difference(&hidden.row(5).unwrap(), &expected) <= 1e-4);

    sequence.keep(2).unwrap();
    assert_eq!((sequence.tokens(), fork.tokens()), (301, 302));
    let hidden =
        model.extend(&mut [Extension { sequence: &mut sequence, tokens: &[1], alternatives: false }]);
    let (expected, _) = after(&model, &[&prompt[..], &[200, 1]].concat());
    assert!(largest_difference(&hidden.unwrap().row(0).unwrap(), &expected) <= 1e-4);
}

/// The same request gives the same tokens alone, and beside requests of other lengths that come and go.
#[tokio::test]
async fn what_else_is_written_does_not_matter() {
    let Some(folder) = shared_model("what_else_is_written_does_not_matter", BABYLLAMA) else { return };
    let generator = start(&folder, 64);
    let sampled = |seed| Request {
        count: 3,
        seed,
        ..raw("Once upon a time", Sampling { temperature: 0.8, max_tokens: 40, ..Sampling::default() })
    };
    let alone = generator.generate(sampled(7)).unwrap().all().await.unwrap();
    assert_eq!(alone.len(), 3);
    assert!(alone[0] != alone[1] && alone[1] != alone[2], "{alone:?}");

    let others: Vec<_> = (0..12)
        .map(|n| {
            let prompt = "Lily went to the park with her dog. ".repeat(1 + n % 4);
            let sampling = Sampling { max_tokens: 5 + 7 * n, ..Sampling::default() };
            generator
                .generate(Request { count: 1 + n % 3, seed: n as u64, ..raw(&prompt, sampling) })
                .unwrap()
        })
        .collect();
    let mixed = generator.generate(sampled(7)).unwrap().all().await.unwrap();
    assert_eq!(mixed, alone);
    assert_ne!(generator.generate(sampled(8)).unwrap().all().await.unwrap(), alone);
    for other in others {
        other.all().await.unwrap();
    }
    generator.shutdown();
}

/// What is streamed is what is returned at the end, and a stop text cuts both.
#[tokio::test]
async fn deltas_add_up_to_the_text_and_stops_are_left_out() {
    let Some(folder) = shared_model("deltas_add_up_to_the_text_and_stops_are_left_out", BABYLLAMA) else {
        return;
    };
    let generator = start(&folder, 4);
    let whole = one(&generator, raw("Once upon a time", greedy(40))).await.text;
    let stop = "little girl";
    let sampling = Sampling { stop: vec!["nowhere".to_owned(), stop.to_owned()], ..greedy(40) };
    let mut completions = generator.generate(raw("Once upon a time", sampling)).unwrap();
    assert_eq!(completions.prompt_tokens, Some(18));
    let (mut text, mut finished) = (String::new(), None);
    while let Some(event) = completions.next().await {
        match event.unwrap() {
            pref::generate::Event::Delta { text: delta, .. } => text += &delta,
            pref::generate::Event::Finished { completion, .. } => finished = Some(completion),
            pref::generate::Event::Usage { .. } => panic!("this generator gives out its tokens"),
        }
    }
    let finished = finished.unwrap();
    assert_eq!(finished.text, whole[..whole.find(stop).unwrap()]);
    assert_eq!((text, finished.finish), (finished.text, Finish::Stop));
}

/// Two tokens drawn by value-guided sampling come as often as the formula says, every pair of them.
#[tokio::test]
async fn guided_probabilities_are_those_of_the_formula() {
    let Some(folder) = shared_model("guided_probabilities_are_those_of_the_formula", BABYLLAMA) else {
        return;
    };
    let generator = start(&folder, 64);
    let model = generator.model().clone();
    let (temperature, k) = (4.0, 3);
    let direction: Vec<f32> = (0..model.dimension()).map(|n| ((n * 37 % 11) as f32 - 5.0) * 0.02).collect();
    let prompt = model.encode("Once upon a time").unwrap();

    // softmax over the k likeliest of logit/T + uᵀh, by hand.
    let next = |tokens: &[u32]| -> Vec<(u32, f64)> {
        let (_, logits) = after(&model, tokens);
        let mut order: Vec<_> = (0..logits.len() as u32).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        let score = |token: u32| {
            let (hidden, _) = after(&model, &[tokens, &[token]].concat());
            let value: f64 = hidden.iter().zip(&direction).map(|(h, u)| f64::from(*h) * f64::from(*u)).sum();
            f64::from(logits[token as usize]) / temperature + value
        };
        let scores: Vec<_> = order[..k].iter().map(|&token| (token, score(token).exp())).collect();
        let total: f64 = scores.iter().map(|(_, weight)| weight).sum();
        scores.into_iter().map(|(token, weight)| (token, weight / total)).collect()
    };
    let mut expected = Vec::new();
    for (first, p) in next(&prompt) {
        assert!(!model.is_end(first));
        for (second, q) in next(&[&prompt[..], &[first]].concat()) {
            expected.push((vec![first, second], p * q));
        }
    }
    assert_eq!(expected.len(), k * k);
    assert!(expected.iter().filter(|(_, p)| *p > 0.01).count() >= 4, "{expected:?}");

    let sampling = Sampling { temperature, max_tokens: 2, ..Sampling::default() };
    let guidance = Some(Guidance { direction, tokens: k });
    let mut drawn: Vec<Vec<u32>> = Vec::new();
    for seed in 0..60 {
        let request = Request {
            count: 50,
            seed,
            guidance: guidance.clone(),
            ..raw("Once upon a time", sampling.clone())
        };
        let completions = generator.generate(request).unwrap().all().await.unwrap();
        drawn.extend(completions.into_iter().map(|completion| completion.tokens.unwrap()));
    }
    for (tokens, p) in &expected {
        let share = drawn.iter().filter(|one| *one == tokens).count() as f64 / drawn.len() as f64;
        let error = (p * (1.0 - p) / drawn.len() as f64).sqrt();
        assert!((share - p).abs() < 4.0 * error + 1e-9, "{tokens:?}: {share}, expected {p} ± {error}");
    }
    assert!(drawn.iter().all(|one| expected.iter().any(|(tokens, _)| tokens == one)));
}

/// A direction of zeros is sampling among the likeliest k.
#[tokio::test]
async fn guidance_of_nothing_is_top_k() {
    let Some(folder) = shared_model("guidance_of_nothing_is_top_k", BABYLLAMA) else { return };
    let generator = start(&folder, 8);
    let direction = vec![0.0; generator.model().dimension()];
    let guided =
        Request { guidance: Some(Guidance { direction, tokens: 20 }), ..raw("Once upon a time", greedy(30)) };
    assert_eq!(one(&generator, guided).await, one(&generator, raw("Once upon a time", greedy(30))).await);
}

/// Who is given up, and what is written in their place.
#[tokio::test]
async fn an_abandoned_completion_is_not_written_on_and_the_others_are() {
    let Some(folder) =
        shared_model("an_abandoned_completion_is_not_written_on_and_the_others_are", BABYLLAMA)
    else {
        return;
    };
    let generator = start(&folder, 8);
    let sampling = Sampling { max_tokens: 120, ..Sampling::default() };
    let request = Request { count: 3, ..raw("Once upon a time", sampling) };
    let whole = generator.generate(request.clone()).unwrap().all().await.unwrap();
    assert!(whole.iter().all(|one| one.tokens.as_ref().unwrap().len() > 60), "long enough to be given up");
    let mut completions = generator.generate(request).unwrap();
    let (mut heard, mut finished) = (0, Vec::new());
    while let Some(event) = completions.next().await {
        match event.unwrap() {
            pref::generate::Event::Delta { index: 1, tokens, .. } => {
                heard = tokens;
                completions.abandon(1);
            }
            pref::generate::Event::Finished { index, completion } => finished.push((index, completion)),
            _ => {}
        }
    }
    finished.sort_by_key(|(index, _)| *index);
    assert_eq!(finished, [(0, whole[0].clone()), (2, whole[2].clone())]);
    assert!(heard < 60, "{heard} tokens of one that was given up at its first");
    generator.shutdown();
}

/// Callers that come in a storm and leave at random: those who stay get all, and the thread ends when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_leave_make_room() {
    let Some(folder) = shared_model("callers_who_leave_make_room", BABYLLAMA) else { return };
    let generator = start(&folder, 16);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut tasks = Vec::new();
    for seed in 0..64 {
        let sampling = Sampling { max_tokens: 20 + rng.random_range(0..40), ..Sampling::default() };
        let leaves_after = rng.random_bool(0.5).then(|| rng.random_range(0..10));
        let request = Request { count: 1 + (seed as usize) % 3, seed, ..raw("Once upon a time", sampling) };
        let mut completions = generator.generate(request).unwrap();
        tasks.push(tokio::spawn(async move {
            let (mut seen, mut finished) = (0, 0);
            while let Some(event) = completions.next().await {
                finished += usize::from(matches!(event.unwrap(), pref::generate::Event::Finished { .. }));
                seen += 1;
                if leaves_after.is_some_and(|after| seen > after) {
                    return;
                }
            }
            assert_eq!(finished, 1 + (seed as usize) % 3);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(one(&generator, raw("Once upon a time", greedy(8))).await.tokens.unwrap().len(), 8);
    tokio::task::spawn_blocking(move || generator.shutdown()).await.unwrap();
}

/// A model whose numbers get out of hand after one letter: the text with the letter ends, and those written beside it do not.
#[tokio::test]
async fn a_number_that_is_not_finite_ends_its_own_completion_alone() {
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    let generator = start(folder.path(), 8);
    let sampling = || Sampling { max_tokens: 30, ..Sampling::default() };
    let good = |seed| Request { seed, ..raw("one two three", sampling()) };
    let mut alone = Vec::new();
    for seed in 0..3 {
        alone.push(one(&generator, good(seed)).await);
    }
    generator.shutdown();
    let written: Vec<u32> = alone.iter().flat_map(|one| one.tokens.clone().unwrap()).collect();
    let letter =
        (b'A'..=b'Z').find(|letter| !written.contains(&u32::from(*letter))).expect("one is not written");
    without_a_number_for(folder.path(), letter);

    let generator = start(folder.path(), 8);
    let beside: Vec<_> = (0..3).map(|seed| generator.generate(good(seed)).unwrap()).collect();
    let letter_alone = char::from(letter).to_string();
    let bad =
        [raw(&format!("a{letter_alone}"), sampling()), Request { count: 3, ..raw(&letter_alone, greedy(9)) }];
    let guidance = |tokens| Some(Guidance { direction: vec![0.1; generator.model().dimension()], tokens });
    for request in bad {
        let guided = Request { guidance: guidance(3), ..request.clone() };
        for request in [request, guided] {
            let error = generator.generate(request).unwrap().all().await.unwrap_err();
            assert!(matches!(error, GenerateError::NotFinite { .. }), "{error}");
        }
    }
    for (completions, expected) in beside.into_iter().zip(alone) {
        assert_eq!(completions.all().await.unwrap(), [expected]);
    }
    generator.shutdown();
}

/// Unties the head from the word embeddings, and takes away those of one token.
fn without_a_number_for(folder: &Path, token: u8) {
    let file = folder.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let words = tensors.tensor("model.embed_tokens.weight").unwrap();
    let (shape, head) = (words.shape().to_vec(), words.data().to_vec());
    let mut damaged = head.clone();
    let row = 4 * shape[1];
    damaged[usize::from(token) * row..][..row]
        .chunks_exact_mut(4)
        .for_each(|number| number.copy_from_slice(&f32::NAN.to_le_bytes()));
    let view = |data| TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
    let mut views: Vec<_> = tensors.iter().filter(|(name, _)| *name != "model.embed_tokens.weight").collect();
    views.push(("model.embed_tokens.weight", view(&damaged)));
    views.push(("lm_head.weight", view(&head)));
    let written = safetensors::serialize(views, None).unwrap();
    std::fs::write(file, written).unwrap();
}

#[tokio::test]
async fn what_cannot_be_completed_is_refused_or_ends_at_the_context() {
    let test = "what_cannot_be_completed_is_refused_or_ends_at_the_context";
    let Some(folder) = shared_model(test, BABYLLAMA) else { return };
    let generator = start(&folder, 2);
    let refused = |request| generator.generate(request).unwrap_err();
    let long = "a ".repeat(200);
    let told = refused(raw(&long, greedy(1))).to_string();
    assert!(told.starts_with("prompt: got ") && told.contains("allowed: at most 255"), "{told}");
    assert!(matches!(
        refused(Request { count: 0, ..raw("a", greedy(1)) }),
        GenerateError::TooMany { allowed: 2, .. }
    ));
    assert!(matches!(
        refused(Request { count: 3, ..raw("a", greedy(1)) }),
        GenerateError::TooMany { given: 3, .. }
    ));

    // 250 of 256 positions are taken.
    let prompt = "abc de".repeat(41) + "ab";
    let completion = one(&generator, raw(&prompt, Sampling { top_k: Some(1), ..greedy(100) })).await;
    let written = completion.tokens.unwrap().len();
    assert!(
        completion.finish == Finish::Stop
            || written + generator.model().encode(&prompt).unwrap().len() == 256
    );
    generator.shutdown();
    assert!(matches!(refused(raw("a", greedy(1))), GenerateError::Stopped));
}

#[test]
fn a_folder_without_a_template_reads_no_conversations() {
    let test = "a_folder_without_a_template_reads_no_conversations";
    let Some(folder) = shared_model(test, BABYLLAMA) else { return };
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    let model = open(copy.path());
    assert!(!model.has_template());
    let error = model.encode_chat(&[Message { role: "user", content: "Hi" }]).unwrap_err();
    assert!(matches!(error, ModelError::NoChatTemplate { .. }), "{error}");
    // config.json's end of text, in place of generation_config.json's two.
    assert!(model.is_end(2) && !model.is_end(1));
    assert!(open(&folder).is_end(1));
}
