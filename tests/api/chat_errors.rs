//! What cannot be completed: each a clear error or a sensible default, on both edges, also after the first words.

use std::sync::Arc;

use pref::domain::{TenantId, UserId};
use pref::generate::{LocalConfig, LocalGenerator};
use pref::model::{BackboneOptions, LanguageModel};
use pref::service::proto::*;
use pref::store::StoredPosterior;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::app::{PROMPTS, TestApp, judge, refusal, refused_field};
use crate::edge::{call, edge, json_of};
use crate::made_decoder::made_decoder;
use crate::on_both_stores;
use crate::upstream::{Answer, Upstream, delta, done};

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "pref", "messages": [{"role": "user", "content": PROMPTS[0]}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The data of each event of a stream.
async fn events(url: &str, body: Value) -> Vec<String> {
    let response = call("POST", format!("{url}/v1/chat/completions"), &[], Some(body)).await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_after_the_first_words_is_an_error_in_the_stream() {
    let fell = json!({"error": {"message": "I fell"}}).to_string();
    for (answer, code, words) in [
        (Answer::Stall(vec![delta(0, "Hel")]), "UPSTREAM_UNAVAILABLE", "nothing came for 300ms"),
        (Answer::Stream(vec![delta(0, "Hel")]), "UPSTREAM_BROKEN", "ended before"),
        (Answer::Stream(vec![delta(0, "Hel"), fell]), "UPSTREAM_UNAVAILABLE", "I fell"),
        (Answer::Stream(vec![delta(0, "Hel"), "{".to_owned()]), "UPSTREAM_BROKEN", "EOF"),
    ] {
        let upstream = Upstream::start(vec![answer.clone()]).await;
        let app = TestApp::with_generators(&[("far", Arc::new(upstream.generator()))]).await;
        let url = edge(&app, |_| {}).await;
        let told = events(&url, chat(json!({"stream": true, "pref": {"strategy": "unguided"}}))).await;
        let [role, text, error, end] = told.as_slice() else { panic!("{answer:?}: {told:?}") };
        assert!(role.contains("assistant") && text.contains("\"content\":\"Hel\""), "{told:?}");
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["type"]),
            (&code.into(), &"server_error".into())
        );
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{error}");
        assert_eq!(end, "[DONE]");

        let request = GenerateRequest {
            prompt: PROMPTS[0].to_owned(),
            strategy: GenerationStrategy::Unguided.into(),
            ..Default::default()
        };
        let mut stream = app.personalization().generate(request).await.unwrap().into_inner();
        let mut text = String::new();
        let status = loop {
            match stream.message().await {
                Ok(Some(GenerateResponse { event: Some(generate_response::Event::Delta(delta)) })) => {
                    text += &delta.text;
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("a completion was made"),
                Err(status) => break status,
            }
        };
        assert!(text == "Hel" && status.message().contains(words), "{text}: {status}");
        assert_eq!(refusal(Err::<(), _>(status)).1, code);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_away_slow_or_out_of_quota_is_told_in_openais_shape() {
    let status = |line, headers, message: &str| {
        Answer::Status(line, headers, json!({"error": {"message": message}}).to_string())
    };
    for (answer, http, code, kind) in [
        (status("500 No", "", "broken"), 503, "UPSTREAM_UNAVAILABLE", "server_error"),
        (Answer::Stall(vec![]), 503, "UPSTREAM_UNAVAILABLE", "server_error"),
        (Answer::Stream(vec![done()]), 502, "UPSTREAM_BROKEN", "server_error"),
        (status("429 No", "retry-after: 60\r\n", "quota"), 429, "UPSTREAM_BUSY", "rate_limit_error"),
        (status("401 No", "", "who"), 502, "UPSTREAM_MISCONFIGURED", "server_error"),
        (status("400 No", "", "too long"), 400, "UPSTREAM_REFUSED", "invalid_request_error"),
    ] {
        let upstream = Upstream::start(vec![answer.clone()]).await;
        let app = TestApp::with_generators(&[("far", Arc::new(upstream.generator()))]).await;
        let url = edge(&app, |_| {}).await;
        let response = call("POST", format!("{url}/v1/chat/completions"), &[], Some(chat(json!({})))).await;
        let wait = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(wait.as_deref() == Some("60"), http == 429, "{answer:?}: {wait:?}");
        let (status, reply) = json_of(response).await;
        assert_eq!((status, &reply["error"]["code"]), (http, &code.into()), "{answer:?}: {reply}");
        assert_eq!(reply["error"]["type"], kind);
        app.stop().await;
    }
}

on_both_stores! {
    async fn what_a_chat_client_gets_wrong_is_named_as_it_wrote_it(app) {
        app.import_topics().await;
        let url = edge(app, |_| {}).await;
        let field = |n: u64, name: &str| (n, Some(name.to_owned()));
        let tool = json!([{"type": "function", "function": {"name": "f"}}]);
        for (more, expected) in [
            (json!({"n": 0}), field(400, "n")),
            (json!({"n": 257}), field(413, "n")),
            (json!({"pref": {"candidates": 257}}), field(413, "pref.candidates")),
            (json!({"n": 3, "pref": {"candidates": 2}}), field(400, "pref.candidates")),
            (json!({"messages": []}), field(400, "messages")),
            (json!({"messages": [{"role": "user", "content": " "}]}), field(400, "messages")),
            (json!({"messages": [{"role": "tool", "content": "x"}]}), field(400, "messages[0].role")),
            (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), field(400, "messages[0].content")),
            (json!({"model": "nobody"}), field(400, "model")),
            (json!({"user": "a\nb"}), field(400, "user")),
            (json!({"temperature": 11}), field(400, "temperature")),
            (json!({"top_p": 0}), field(400, "top_p")),
            (json!({"max_tokens": 0}), field(400, "max_tokens")),
            (json!({"max_completion_tokens": 0}), field(400, "max_completion_tokens")),
            (json!({"stop": ""}), field(400, "stop")),
            (json!({"tools": tool}), field(400, "tools")),
            (json!({"pref": {"strategy": "luck"}}), field(400, "pref.strategy")),
            (json!({"pref": {"strategy": "value_guided"}}), field(400, "pref.strategy")),
            (json!({"pref": {"guidance_scale": 1e7}}), field(400, "pref.guidance_scale")),
            (json!({"pref": {"risk_aversion": -1}}), field(400, "pref.risk_aversion")),
            (json!({"pref": {"top_k": 0}}), field(400, "pref.top_k")),
            (json!({"pref": {"min_p": 2}}), field(400, "pref.min_p")),
            (json!({"pref": {"min_revision": u64::MAX}}), field(400, "pref.min_revision")),
            (json!({"pref": {"sorcery": 1}}), field(400, "body")),
        ] {
            for stream in [false, true] {
                let mut body = chat(more.clone());
                body["stream"] = stream.into();
                let response = call("POST", format!("{url}/v1/chat/completions"), &[], Some(body)).await;
                let (status, reply) = json_of(response).await;
                let param = reply["error"]["param"].as_str().map(str::to_owned);
                assert_eq!((u64::from(status), param.clone()), expected, "{more}: {reply}");
                let message = reply["error"]["message"].as_str().unwrap();
                assert!(message.starts_with(&param.unwrap()), "{message}");
            }
        }
        // JSON has no NaN, as some writers of it do not know.
        let nan = r#"{"model": "pref", "messages": [], "temperature": NaN}"#;
        let response = reqwest::Client::new().post(format!("{url}/v1/chat/completions")).body(nan).send().await.unwrap();
        let (status, reply) = json_of(response).await;
        assert_eq!((status, &reply["error"]["param"]), (400, &"body".into()));
    }
}

on_both_stores! {
    async fn numbers_that_are_none_are_refused_by_field(app) {
        let good = GenerateRequest { prompt: PROMPTS[0].to_owned(), ..Default::default() };
        let sampled = |sampling| GenerateRequest { sampling: Some(sampling), ..good.clone() };
        for (request, field) in [
            (GenerateRequest { guidance_scale: Some(f64::NAN), ..good.clone() }, "guidance_scale"),
            (GenerateRequest { guidance_scale: Some(f64::INFINITY), ..good.clone() }, "guidance_scale"),
            (GenerateRequest { risk_aversion: Some(f64::NAN), ..good.clone() }, "risk_aversion"),
            (sampled(Sampling { temperature: Some(f64::NAN), ..Default::default() }), "sampling.temperature"),
            (sampled(Sampling { top_p: Some(f64::NAN), ..Default::default() }), "sampling.top_p"),
            (sampled(Sampling { min_p: Some(f64::NAN), ..Default::default() }), "sampling.min_p"),
        ] {
            assert_eq!(refused_field(app.generate(request).await), (Code::InvalidArgument, field.to_owned()));
        }
    }
}

on_both_stores! {
    async fn a_stored_fit_that_is_not_a_number_is_made_again_from_the_log(app) {
        app.import_topics().await;
        let words = ("x", "Many more words than there have to be in one.", "Few.");
        app.submit(judge("ada", words, Outcome::First)).await.unwrap();
        let (tenant, ada) = (TenantId::default_tenant(), UserId::parse("ada").unwrap());
        let version = app.engine.models().active(&tenant).unwrap().version.clone();
        let request = GenerateRequest { user_id: "ada".to_owned(), prompt: PROMPTS[0].to_owned(), ..Default::default() };
        let (_, _, before) = app.generate(request.clone()).await.unwrap();
        let fitted = app.get_user("ada").await.unwrap();

        let row = app.engine.store().user(&tenant, &ada, &version).await.unwrap().unwrap();
        let stored = row.posterior.unwrap();
        let damaged = StoredPosterior { coefficients: vec![f64::NAN; stored.coefficients.len()], ..stored };
        app.engine.store().put_posterior(&tenant, &ada, &version, row.created, &damaged, &[]).await.unwrap();
        let (started, _, after) = app.generate(request).await.unwrap();
        assert_eq!((started.revision, after.text, after.reward), (1, before.text, before.reward));
        assert_eq!(app.get_user("ada").await.unwrap(), fitted);
    }
}

on_both_stores! {
    async fn whoever_has_said_nothing_is_answered_as_the_average_person(app) {
        app.import_topics().await;
        let url = edge(app, |_| {}).await;
        let answer = async |user: Value| {
            let body = chat(json!({"user": user, "seed": 1}));
            let (status, reply) = json_of(call("POST", format!("{url}/v1/chat/completions"), &[], Some(body)).await).await;
            assert_eq!(status, 200, "{reply}");
            (reply["choices"].clone(), reply["pref"].clone())
        };
        let nobody = answer(Value::Null).await;
        assert_eq!(nobody.1["revision"], 0);
        assert_eq!(answer("ada".into()).await, nobody, "a stranger");
        app.ask("bob").await;
        assert_eq!(answer("bob".into()).await, nobody, "who was asked and has not answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_without_a_chat_template_takes_one_message_and_no_instruction() {
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    let model = LanguageModel::open(&folder.path().to_string_lossy(), &BackboneOptions::default()).unwrap();
    let local = LocalGenerator::start(Arc::new(model), LocalConfig::default()).unwrap();
    let app = TestApp::with_generators(&[("plain", Arc::new(local.clone()))]).await;
    let words = ("x", "Many more words than there have to be in one.", "Few.");
    for _ in 0..6 {
        app.submit(judge("ada", words, Outcome::First)).await.unwrap();
    }
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let asked = |messages, strategy: GenerationStrategy| GenerateRequest {
        user_id: "ada".to_owned(),
        messages,
        strategy: strategy.into(),
        candidates: 2,
        sampling: Some(Sampling { max_tokens: Some(4), ..Default::default() }),
        ..Default::default()
    };
    let alone = vec![message("user", "One day")];
    let turns = vec![message("user", "Hi"), message("assistant", "Hello"), message("user", "One day")];
    let invalid = |field: &str| (Code::InvalidArgument, field.to_owned());
    app.generate(asked(alone.clone(), GenerationStrategy::BestOfN)).await.unwrap();
    let refused = app.generate(asked(turns.clone(), GenerationStrategy::BestOfN)).await.unwrap_err();
    assert!(refused.message().contains("no chat template"), "{refused}");
    assert_eq!(refused_field(Err::<(), _>(refused)), invalid("messages"));
    let styled = app.generate(asked(alone, GenerationStrategy::StyleGuided)).await.unwrap_err();
    assert!(styled.message().contains("no chat template"), "{styled}");
    assert_eq!(refused_field(Err::<(), _>(styled)), invalid("strategy"));
    assert_eq!(
        refused_field(app.generate(asked(turns, GenerationStrategy::StyleGuided)).await),
        invalid("messages")
    );
    let long = "a".repeat(600);
    let long =
        app.generate(asked(vec![message("user", &long)], GenerationStrategy::BestOfN)).await.unwrap_err();
    assert!(
        long.get_error_details().bad_request().is_some() && long.message().contains("600 tokens"),
        "{long}"
    );
    app.stop().await;
    local.shutdown();
}
