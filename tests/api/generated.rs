//! Questions whose responses are generated (Algorithm 2), and answers in a person's style.

use std::sync::{Arc, Mutex};

use nalgebra::{DMatrix, DVector};
use pref::domain::TenantId;
use pref::generate::{Completion, Completions, Finish, GenerateError, Generator, Prompt, Request};
use pref::model::{Artifact, ArtifactLocation, ValueHead, ValueHeadRecord};
use pref::service::proto::*;
use tonic::Code;

use crate::app::{TestApp, answer, from_pool, judge, refusal, request_id};
use crate::artifact::{self, BASE_FUNCTIONS};

const LONG: &str = "Many more words than there have to be in one.";
const SHORT: &str = "Few.";

/// Writes ever longer texts, and keeps what it was asked.
#[derive(Default)]
struct Writer {
    asked: Mutex<Vec<Request>>,
    /// Writes this and nothing else.
    only: Option<&'static str>,
    language_model: Option<&'static str>,
}

impl Generator for Writer {
    fn language_model(&self) -> Option<&str> {
        self.language_model
    }

    fn generate(&self, request: Request) -> Result<Completions, GenerateError> {
        let mut asked = self.asked.lock().unwrap();
        let already: usize = asked.iter().map(|request| request.count).sum();
        let texts = (already..already + request.count).map(|n| match self.only {
            Some(text) => text.to_owned(),
            None => "So it goes on. ".repeat(n + 1),
        });
        asked.push(request);
        drop(asked);
        Ok(Completions::ready(texts.map(|text| Completion { text, finish: Finish::Stop, tokens: None })))
    }
}

fn question(user: &str, candidates: u32) -> NextQueryRequest {
    let source = GenerateSource { prompt: "How was it?".to_owned(), candidates, ..Default::default() };
    NextQueryRequest { source: Some(next_query_request::Source::Generate(source)), ..from_pool(user, "") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_the_best_pair_of_what_is_generated() {
    let writer = Arc::new(Writer::default());
    let app = TestApp::with_generators(&[("writer", writer.clone())]).await;
    let request = NextQueryRequest { request_id: request_id(), ..question("ada", 6) };
    let reply = app.next_query(request.clone()).await.unwrap();
    let query = reply.queries[0].clone();
    let mut lengths = [&query.response_a, &query.response_b].map(|text| text.matches("on.").count());
    lengths.sort();
    assert_eq!((query.prompt.as_str(), lengths), ("How was it?", [1, 6]), "the two that differ most");
    assert!(query.information_gain > 0.0);
    assert_eq!(app.next_query(request).await.unwrap(), reply, "a retry generates nothing");
    let asked = std::mem::take(&mut *writer.asked.lock().unwrap());
    let [one] = asked.as_slice() else { panic!("one request: {asked:?}") };
    assert_eq!((one.count, &one.prompt, &one.guidance), (6, &Prompt::User("How was it?".to_owned()), &None));

    let submitted = app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap();
    assert_eq!(submitted.profile.unwrap().answers, 1);
    let same = app.next_query(question("ada", 6)).await.unwrap();
    assert_ne!(same.queries[0].query_id, query.query_id);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_text_again_and_again_is_no_question() {
    let writer = Writer { only: Some("Well."), ..Writer::default() };
    let app = TestApp::with_generators(&[("writer", Arc::new(writer))]).await;
    let refused = refusal(app.next_query(question("ada", 4)).await);
    assert_eq!(refused, (Code::FailedPrecondition, "NO_QUESTION_LEFT".to_owned()));
    app.stop().await;
}

/// u = ±β Vᵀv: with the identity as V, the generator is given v itself, which is orthogonal to all that was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_head_writes_in_both_directions_of_what_is_least_known() {
    let folder = tempfile::tempdir().unwrap();
    artifact::save(
        folder.path(),
        "guided-1",
        &["length", "sentence length", "word length", "lexical diversity"],
    );
    let location = ArtifactLocation::from(folder.path());
    let head = ValueHead {
        weights: DMatrix::identity(BASE_FUNCTIONS, BASE_FUNCTIONS),
        record: ValueHeadRecord {
            language_model: "writer".to_owned(),
            language_model_hash: "00".to_owned(),
            prompts: 20,
            rollouts: 8,
            max_tokens: 64,
            ridge: 0.1,
            positions: Vec::new(),
        },
    };
    Artifact::add_value_head_blocking(&location, &head).unwrap();
    let writer = Arc::new(Writer { language_model: Some("00"), ..Writer::default() });
    let app = TestApp::with_generators(&[("writer", writer.clone())]).await;
    let place = folder.path().to_string_lossy();
    app.engine.install_model(&TenantId::default_tenant(), &place).await.unwrap();

    let submitted = app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
    // λ̂ − μ = (1 − p) δ.
    let mean = DVector::from_column_slice(&[0.5, 0.0, -0.25, 0.0]);
    let delta = (DVector::from_vec(submitted.profile.unwrap().coefficients) - &mean).normalize();
    let mut asked = question("ada", 5);
    if let Some(next_query_request::Source::Generate(source)) = &mut asked.source {
        source.guidance_scale = Some(2.0);
    }
    app.next_query(asked).await.unwrap();
    let asked = std::mem::take(&mut *writer.asked.lock().unwrap());
    let directions: Vec<_> = asked
        .iter()
        .map(|request| {
            let guidance = request.guidance.as_ref().expect("each half is steered");
            (
                request.count,
                DVector::from_iterator(BASE_FUNCTIONS, guidance.direction.iter().map(|&u| f64::from(u))),
            )
        })
        .collect();
    let [(3, plus), (2, minus)] = directions.as_slice() else { panic!("two halves: {directions:?}") };
    assert!((plus + minus).norm() < 1e-6, "{plus} {minus}");
    // E‖λ‖² = tr Σ + ‖μ‖².
    let length = 2.0 * (BASE_FUNCTIONS as f64 + mean.norm_squared()).sqrt();
    assert!((plus.norm() - length).abs() < 1e-5, "{}", plus.norm());
    assert!(plus.dot(&delta).abs() < 1e-4 * length, "{}", plus.dot(&delta));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_style_goes_into_the_instruction() {
    let writer = Arc::new(Writer::default());
    let app = TestApp::with_generators(&[("writer", writer.clone())]).await;
    for _ in 0..6 {
        app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
        app.submit(judge("bob", ("x", LONG, SHORT), Outcome::Second)).await.unwrap();
    }
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let asked = async |user: &str, messages: Vec<Message>| {
        let request = GenerateRequest {
            user_id: user.to_owned(),
            prompt: if messages.is_empty() { "How was it?".to_owned() } else { String::new() },
            messages,
            strategy: GenerationStrategy::StyleGuided.into(),
            candidates: 3,
            include_candidates: true,
            ..Default::default()
        };
        let (_, _, finished) = app.generate(request).await.unwrap();
        assert_eq!(finished.text, finished.candidates[0].text, "the best of them");
        let request = writer.asked.lock().unwrap().pop().unwrap();
        assert_eq!(request.count, 3);
        request.prompt
    };
    let Prompt::Chat(turns) = asked("ada", vec![]).await else { panic!("an instruction") };
    assert!(
        turns[0].0 == "system" && turns[0].1.contains("More of: ") && turns[0].1.contains("length"),
        "{turns:?}"
    );
    assert_eq!(turns[1], ("user".to_owned(), "How was it?".to_owned()));
    let conversation = vec![message("system", "Be kind."), message("user", "Hi")];
    let Prompt::Chat(turns) = asked("bob", conversation).await else { panic!("an instruction") };
    assert!(
        turns[0].1.starts_with("Be kind.\n\nHow this reader") && turns[0].1.contains("Less of: "),
        "{turns:?}"
    );
    assert_eq!(turns.len(), 2);
    let nobody = asked("eve", vec![]).await;
    assert_eq!(nobody, Prompt::User("How was it?".to_owned()), "of whom there is nothing to say");
    app.stop().await;
}
