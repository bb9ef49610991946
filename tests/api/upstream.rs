//! Language models behind an OpenAI-compatible address: one that misbehaves in every way it can, and our own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pref::generate::{
    Completion, Event, Finish, GenerateError, Generator, LocalConfig, LocalGenerator, OpenAi, OpenAiConfig,
    Prompt, Request, Sampling,
};
use pref::model::{BackboneOptions, LanguageModel};
use pref::service::proto::*;
use pref::service::{ServiceConfig, serve_http};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;

use crate::app::{TestApp, refusal};
use crate::shared_model::shared_model;

const KEY: &str = "sk-not-to-be-told";

/// What an upstream does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// An event stream of this data, then the end of the connection.
    Stream(Vec<String>),
    /// A whole reply.
    Whole(Value),
    /// A refusal, with headers of its own.
    Status(&'static str, &'static str, String),
    /// The beginning of an event stream, then nothing.
    Stall(Vec<String>),
    /// Chunks as long as somebody reads them.
    Endless,
}

/// A server that gives the answers in turn, the last one again and again, and keeps what it was asked.
pub(crate) struct Upstream {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// Hears of every caller who hung up on an endless answer.
    left: mpsc::UnboundedReceiver<()>,
}

impl Upstream {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (sender, left) = mpsc::unbounded_channel();
        let asked = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let heard = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answers, asked, left) = (answers.clone(), heard.clone(), sender.clone());
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    let turn = {
                        let mut asked = asked.lock().unwrap();
                        asked.push(request);
                        asked.len() - 1
                    };
                    give(&mut stream, &answers[turn.min(answers.len() - 1)], &left).await;
                });
            }
        });
        Self { url, asked, left }
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn config(&self) -> OpenAiConfig {
        OpenAiConfig {
            idle_timeout: Duration::from_millis(300),
            ..OpenAiConfig::parse(&format!("{}#far", self.url), "name", Some(KEY.into())).unwrap()
        }
    }

    pub(crate) fn generator(&self) -> OpenAi {
        OpenAi::new(self.config()).unwrap()
    }
}

/// The request's first lines, and its body.
async fn read(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.unwrap().parse().unwrap() {
                return (head.to_owned(), serde_json::from_str(body).unwrap());
            }
        }
    }
}

async fn give(stream: &mut TcpStream, answer: &Answer, left: &mpsc::UnboundedSender<()>) {
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let lines = |data: &[String]| data.iter().map(|data| format!("data: {data}\n\n")).collect::<String>();
    match answer {
        Answer::Stream(data) => write(stream, &(events.to_owned() + &lines(data))).await,
        Answer::Whole(reply) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            write(stream, &format!("{head}{reply}")).await;
        }
        Answer::Status(status, headers, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            write(stream, &(head + body)).await;
        }
        Answer::Stall(data) => {
            write(stream, &(events.to_owned() + &lines(data))).await;
            // Until the caller has had enough.
            let _ = stream.read(&mut [0; 1]).await;
        }
        Answer::Endless => {
            write(stream, events).await;
            while stream.write_all(lines(&[delta(0, "and ")]).as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            left.send(()).unwrap();
        }
    }
}

async fn write(stream: &mut TcpStream, text: &str) {
    // The caller may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

pub(crate) fn delta(index: usize, text: &str) -> String {
    json!({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": null}]}).to_string()
}

fn finish(index: usize, reason: &str) -> String {
    json!({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]}).to_string()
}

pub(crate) fn done() -> String {
    "[DONE]".to_owned()
}

fn hello() -> Answer {
    Answer::Stream(vec![delta(0, "Hel"), delta(0, "lo"), finish(0, "stop"), done()])
}

fn request(count: usize) -> Request {
    let sampling = Sampling { max_tokens: 9, temperature: 0.5, ..Sampling::default() };
    Request { prompt: Prompt::User("Say hello".to_owned()), count, sampling, seed: 7, guidance: None }
}

fn completion(text: &str, finish: Finish) -> Completion {
    Completion { text: text.to_owned(), finish, tokens: None }
}

#[tokio::test]
async fn several_completions_are_asked_for_at_once_and_streamed() {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 8}}).to_string();
    let stream = vec![delta(1, "Good "), delta(0, "Hel"), delta(1, "day"), delta(0, "lo")];
    let ends = vec![finish(0, "stop"), finish(1, "length"), usage, done()];
    let upstream = Upstream::start(vec![Answer::Stream([stream, ends].concat())]).await;
    let sampling =
        Sampling { top_p: 0.9, top_k: Some(40), stop: vec!["\n".to_owned()], ..request(2).sampling };
    let prompt =
        Prompt::Chat(vec![("system".to_owned(), "Be kind".to_owned()), ("user".to_owned(), "Hi".to_owned())]);
    let mut completions = upstream.generator().generate(Request { sampling, prompt, ..request(2) }).unwrap();
    let mut events = Vec::new();
    while let Some(event) = completions.next().await {
        events.push(event.unwrap());
    }
    let text = |index, text: &str| Event::Delta { index, text: text.to_owned(), tokens: 0 };
    let finished = |index, completion| Event::Finished { index, completion };
    let expected = [
        text(1, "Good "),
        text(0, "Hel"),
        text(1, "day"),
        text(0, "lo"),
        finished(0, completion("Hello", Finish::Stop)),
        finished(1, completion("Good day", Finish::Length)),
        Event::Usage { prompt_tokens: 3, completion_tokens: 8 },
    ];
    assert_eq!(events, expected);

    let (head, body) = upstream.asked.lock().unwrap().remove(0);
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {KEY}")), "{head}");
    let messages = json!([{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hi"}]);
    let expected = json!({"model": "far", "messages": messages, "n": 2, "temperature": 0.5, "top_p": 0.9,
        "top_k": 40, "max_tokens": 9, "stop": ["\n"], "seed": 7, "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(body, expected);
}

/// As llama.cpp's server does, whatever `n` says; and some that do not stream.
#[tokio::test]
async fn of_an_upstream_that_makes_one_completion_the_rest_is_asked_for() {
    let whole = |text: &str| {
        let choice =
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
        Answer::Whole(json!({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}))
    };
    let upstream = Upstream::start(vec![whole("one"), whole("two")]).await;
    let mut completions = upstream.generator().generate(request(3)).unwrap();
    let (mut texts, mut usage) = (vec![String::new(); 3], None);
    while let Some(event) = completions.next().await {
        match event.unwrap() {
            Event::Finished { index, completion } => texts[index] = completion.text,
            Event::Usage { prompt_tokens, completion_tokens } => {
                usage = Some((prompt_tokens, completion_tokens))
            }
            Event::Delta { .. } => {}
        }
    }
    assert_eq!((texts, usage), (["one", "two", "two"].map(str::to_owned).into(), Some((4, 6))));
    let mut asked: Vec<_> =
        upstream.asked().iter().map(|body| (body["n"].as_u64(), body["seed"].as_u64())).collect();
    asked.sort();
    assert_eq!(asked, [(None, Some(8)), (None, Some(9)), (Some(3), Some(7))], "each with a seed of its own");
}

#[tokio::test]
async fn what_fails_before_the_first_word_is_tried_again() {
    let failed = |status| Answer::Status(status, "", "{}".to_owned());
    let busy = Answer::Status("429 Too Many Requests", "retry-after: 0\r\n", "slow down".to_owned());
    let upstream = Upstream::start(vec![failed("503 Service Unavailable"), busy, hello()]).await;
    let made = upstream.generator().generate(request(1)).unwrap().all().await.unwrap();
    assert_eq!(made, [completion("Hello", Finish::Stop)]);
    assert_eq!(upstream.asked().len(), 3);
}

/// What a client is told, by the real server, of everything that an upstream can do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_upstream_does_a_client_gets_a_clear_error() {
    let error = |message: &str| json!({"error": {"message": message}}).to_string();
    let status = |line, message: &str| Answer::Status(line, "", error(message));
    let (unavailable, exhausted) = (Code::Unavailable, Code::ResourceExhausted);
    let cases = [
        (Answer::Stall(vec![]), unavailable, "UPSTREAM_UNAVAILABLE", "nothing came for 300ms", 1),
        (Answer::Stall(vec![delta(0, "Hel")]), unavailable, "UPSTREAM_UNAVAILABLE", "nothing came", 1),
        (Answer::Stream(vec![delta(0, "Hel")]), unavailable, "UPSTREAM_BROKEN", "ended before", 1),
        (Answer::Stream(vec!["{\"cho".to_owned()]), unavailable, "UPSTREAM_BROKEN", "EOF while parsing", 1),
        (Answer::Stream(vec![done()]), unavailable, "UPSTREAM_BROKEN", "no completion", 1),
        (Answer::Stream(vec![delta(5, "x")]), unavailable, "UPSTREAM_BROKEN", "choice 5 was not asked", 1),
        (Answer::Whole(json!("hello")), unavailable, "UPSTREAM_BROKEN", "invalid type", 1),
        (
            Answer::Stream(vec![delta(0, "Hel"), error("I fell")]),
            unavailable,
            "UPSTREAM_UNAVAILABLE",
            "I fell",
            1,
        ),
        (status("500 Oh No", "broken"), unavailable, "UPSTREAM_UNAVAILABLE", "broken", 3),
        (status("429 Too Many", "You exceeded your current quota"), exhausted, "UPSTREAM_BUSY", "quota", 1),
        (
            Answer::Status("429 Too Many", "retry-after: 60\r\n", String::new()),
            exhausted,
            "UPSTREAM_BUSY",
            "takes no more",
            1,
        ),
        (status("401 No", KEY), Code::FailedPrecondition, "UPSTREAM_MISCONFIGURED", "is not accepted", 1),
        (
            status("404 No", "no model far"),
            Code::FailedPrecondition,
            "UPSTREAM_MISCONFIGURED",
            "no model far",
            1,
        ),
        (status("400 No", "too long"), Code::InvalidArgument, "UPSTREAM_REFUSED", "too long", 1),
    ];
    for (answer, code, reason, words, attempts) in cases {
        let upstream = Upstream::start(vec![answer.clone()]).await;
        let app = TestApp::with_generators(&[("far", Arc::new(upstream.generator()))]).await;
        let told = stream_error(&app).await;
        let details = told.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((told.code(), info.reason.as_str()), (code, reason), "{answer:?}: {told:?}");
        assert!(
            told.message().contains(words) && !told.message().contains(KEY),
            "{answer:?}: {}",
            told.message()
        );
        assert_eq!(upstream.asked().len(), attempts, "{answer:?}");
        let asks_for_a_minute = matches!(&answer, Answer::Status(_, headers, _) if headers.contains("60"));
        let wait = details.retry_info().and_then(|info| info.retry_delay);
        assert_eq!(wait == Some(Duration::from_secs(60)), asks_for_a_minute, "{answer:?}");
        app.stop().await;
    }
    let nobody = OpenAiConfig::parse("http://127.0.0.1:9/v1", "far", None).unwrap();
    let app = TestApp::with_generators(&[("far", Arc::new(OpenAi::new(nobody).unwrap()))]).await;
    let told = stream_error(&app).await;
    assert!(told.message().contains("refused"), "{}", told.message());
    assert_eq!(refusal(Err::<(), _>(told)), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned()));
    app.stop().await;
}

async fn stream_error(app: &TestApp) -> tonic::Status {
    let request = GenerateRequest {
        prompt: "Say hello".to_owned(),
        strategy: GenerationStrategy::Unguided.into(),
        ..Default::default()
    };
    let mut events = app.personalization().generate(request).await.unwrap().into_inner();
    loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a completion was made"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_alone_for_a_while() {
    let upstream = Upstream::start(vec![Answer::Status("500 No", "", String::new())]).await;
    let config = OpenAiConfig { attempts: 1, failures: 3, ..upstream.config() };
    let generator = OpenAi::new(config).unwrap();
    for _ in 0..5 {
        let refused = generator.generate(request(1)).unwrap().all().await.unwrap_err();
        assert!(matches!(refused, GenerateError::UpstreamAway { .. }), "{refused}");
    }
    assert_eq!(upstream.asked().len(), 3);
}

#[tokio::test]
async fn whoever_leaves_hangs_up_on_the_upstream() {
    let mut upstream = Upstream::start(vec![Answer::Endless]).await;
    let mut completions = upstream.generator().generate(request(1)).unwrap();
    assert!(matches!(completions.next().await, Some(Ok(Event::Delta { .. }))));
    drop(completions);
    assert_eq!(upstream.left.recv().await, Some(()));
}

/// `pref` before `pref`: what comes through /v1 is what the language model writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_chat_completions_are_an_upstream() {
    let Some(folder) = shared_model("our_own_chat_completions_are_an_upstream", "babyllama") else { return };
    let model = LanguageModel::open(&folder.to_string_lossy(), &BackboneOptions::default()).unwrap();
    let local = LocalGenerator::start(Arc::new(model), LocalConfig::default()).unwrap();
    let near = TestApp::with_generators(&[("story", Arc::new(local.clone()))]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}/v1#story", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let engine = near.engine.clone();
    let served = stop.clone();
    let edge =
        tokio::spawn(async move { serve_http(listener, engine, &ServiceConfig::default(), served).await });

    let upstream = OpenAi::new(OpenAiConfig::parse(&place, "", None).unwrap()).unwrap();
    let far = TestApp::with_generators(&[("far", Arc::new(upstream))]).await;
    let greedy = Sampling { temperature: 0.0, max_tokens: 30, ..Sampling::default() };
    let prompt = Prompt::User("Once upon a time".to_owned());
    let written = Request { prompt, count: 1, sampling: greedy, seed: 0, guidance: None };
    let written = local.generate(written).unwrap().all().await.unwrap();
    let request = GenerateRequest {
        prompt: "Once upon a time".to_owned(),
        candidates: 2,
        include_candidates: true,
        sampling: Some(pref::service::proto::Sampling {
            temperature: Some(0.0),
            max_tokens: Some(30),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (_, _, finished) = far.generate(request).await.unwrap();
    assert_eq!(finished.text, written[0].text);
    assert_eq!(finished.finish_reason(), FinishReason::Length);
    assert_eq!((finished.prompt_tokens, finished.completion_tokens), (18, 60), "of both candidates together");
    assert_eq!(finished.candidates.len(), 2);

    stop.cancel();
    edge.await.unwrap().unwrap();
    far.stop().await;
    near.stop().await;
    local.shutdown();
}
