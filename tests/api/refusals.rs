//! Bad input: each has its own code, reason and field, and changes nothing.

use pref::service::proto::*;
use tonic::Code;

use crate::app::{MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, TestApp, from_pool, judge, refusal, refused_field};
use crate::on_both_stores;

const COMPARISON: (&str, &str, &str) = ("x", "a", "b");

on_both_stores! {
    async fn a_bad_answer_is_refused_by_field(app) {
        let good = || judge("ada", COMPARISON, Outcome::First);
        let weight = |weight| SubmitPreferenceRequest { weight: Some(weight), ..good() };
        let long = "a".repeat(MAX_TEXT_BYTES + 1);
        let cases = [
            (judge("", COMPARISON, Outcome::First), "user_id"),
            (judge("a\nb", COMPARISON, Outcome::First), "user_id"),
            (judge("ada", (" ", "a", "b"), Outcome::First), "comparison.prompt"),
            (judge("ada", ("x", "a", "a"), Outcome::First), "comparison.response_b"),
            (judge("ada", COMPARISON, Outcome::Unspecified), "outcome"),
            (SubmitPreferenceRequest { outcome: 99, ..good() }, "outcome"),
            (SubmitPreferenceRequest { outcome: -1, ..good() }, "outcome"),
            (SubmitPreferenceRequest { target: None, ..good() }, "target"),
            (SubmitPreferenceRequest { request_id: "7".to_owned(), ..good() }, "request_id"),
            (crate::app::answer("ada", "7", Outcome::First), "query_id"),
            (weight(f64::NAN), "weight"),
            (weight(f64::INFINITY), "weight"),
            (weight(0.0), "weight"),
            (weight(-1.0), "weight"),
            (weight(10.1), "weight"),
        ];
        for (request, field) in cases {
            assert_eq!(refused_field(app.submit(request).await), (Code::InvalidArgument, field.to_owned()));
        }
        for (comparison, field) in [
            ((long.as_str(), "a", "b"), "comparison.prompt"),
            (("x", "a", long.as_str()), "comparison.response_b"),
        ] {
            let refused = app.submit(judge("ada", comparison, Outcome::First)).await;
            assert_eq!(refused_field(refused), (Code::ResourceExhausted, field.to_owned()));
        }
        nobody_was_made(app).await;
    }
}

on_both_stores! {
    async fn a_bad_question_is_refused_by_field(app) {
        let candidates = |prompt: &str, responses: &[&str]| NextQueryRequest {
            source: Some(next_query_request::Source::Candidates(Candidates {
                prompt: prompt.to_owned(),
                responses: responses.iter().map(|&response| response.to_owned()).collect(),
            })),
            ..from_pool("ada", "")
        };
        let cases = [
            (from_pool("", "p"), "user_id"),
            (from_pool("ada", ""), "pool"),
            (NextQueryRequest { source: None, ..from_pool("ada", "p") }, "source"),
            (NextQueryRequest { strategy: 9, ..from_pool("ada", "p") }, "strategy"),
            (candidates("", &["a", "b"]), "candidates.prompt"),
            (candidates("x", &["a"]), "candidates.responses"),
            (candidates("x", &["a", "a"]), "candidates.responses"),
        ];
        for (request, field) in cases {
            assert_eq!(refused_field(app.next_query(request).await), (Code::InvalidArgument, field.to_owned()));
        }
        let too_many = NextQueryRequest { count: 101, ..from_pool("ada", "p") };
        let refused = refused_field(app.next_query(too_many).await);
        assert_eq!(refused, (Code::ResourceExhausted, "count".to_owned()));
        let unknown = refusal(app.next_query(from_pool("ada", "p")).await);
        assert_eq!(unknown, (Code::NotFound, "POOL_NOT_FOUND".to_owned()));
        let generated = |source: GenerateSource| NextQueryRequest {
            source: Some(next_query_request::Source::Generate(source)),
            ..from_pool("ada", "")
        };
        let good = GenerateSource { prompt: "x".to_owned(), ..Default::default() };
        let cold = pref::service::proto::Sampling { temperature: Some(-1.0), ..Default::default() };
        for (source, field) in [
            (GenerateSource { prompt: " ".to_owned(), ..good.clone() }, "generate.prompt"),
            (GenerateSource { generator: "gpt".to_owned(), ..good.clone() }, "generator"),
            (GenerateSource { guidance_scale: Some(f64::NAN), ..good.clone() }, "generate.guidance_scale"),
            (GenerateSource { sampling: Some(cold), ..good.clone() }, "generate.sampling.temperature"),
        ] {
            let refused = refused_field(app.next_query(generated(source)).await);
            assert_eq!(refused, (Code::InvalidArgument, field.to_owned()));
        }
        for candidates in [1, 100_000] {
            let (_, field) = refused_field(app.next_query(generated(GenerateSource { candidates, ..good.clone() })).await);
            assert_eq!(field, "generate.candidates");
        }
        let nowhere = refusal(app.next_query(generated(good)).await);
        assert_eq!(nowhere, (Code::NotFound, "PROMPT_NOT_IN_POOL".to_owned()));
        nobody_was_made(app).await;
    }
}

on_both_stores! {
    async fn a_bad_ranking_or_completion_is_refused_by_field(app) {
        let good = ScoreRequest {
            user_id: "ada".to_owned(),
            prompt: "x".to_owned(),
            responses: vec!["a".to_owned()],
            ..Default::default()
        };
        for (request, field) in [
            (ScoreRequest { prompt: String::new(), ..good.clone() }, "prompt"),
            (ScoreRequest { responses: Vec::new(), ..good.clone() }, "responses"),
            (ScoreRequest { risk_aversion: Some(f64::NAN), ..good.clone() }, "risk_aversion"),
            (ScoreRequest { risk_aversion: Some(-1.0), ..good.clone() }, "risk_aversion"),
            (ScoreRequest { min_revision: u64::MAX, ..good.clone() }, "min_revision"),
        ] {
            assert_eq!(refused_field(app.score(request).await), (Code::InvalidArgument, field.to_owned()));
        }
        let many = ScoreRequest { responses: vec!["a".to_owned(); 257], ..good };
        assert_eq!(refused_field(app.score(many).await), (Code::ResourceExhausted, "responses".to_owned()));

        let good = GenerateRequest { user_id: "ada".to_owned(), prompt: "x".to_owned(), ..Default::default() };
        for (request, field) in [
            (GenerateRequest { prompt: " ".to_owned(), ..good.clone() }, "prompt"),
            (GenerateRequest { strategy: 77, ..good.clone() }, "strategy"),
            (GenerateRequest { generator: "pool:".to_owned(), ..good.clone() }, "generator"),
        ] {
            assert_eq!(refused_field(app.generate(request).await), (Code::InvalidArgument, field.to_owned()));
        }
        let many = GenerateRequest { candidates: 1000, ..good };
        assert_eq!(refused_field(app.generate(many).await), (Code::ResourceExhausted, "candidates".to_owned()));
    }
}

on_both_stores! {
    async fn a_bad_page_is_refused_by_field(app) {
        for (page_size, page_token, field) in [(1001, "", "page_size"), (1, "nonsense", "page_token")] {
            let refused = refused_field(app.list_users(page_size, page_token).await);
            assert_eq!(refused, (Code::InvalidArgument, field.to_owned()));
        }
    }
}

/// A request whose user_id is bytes, as a client that does not check its texts may send it.
#[derive(Clone, PartialEq, prost::Message)]
struct RawRequest {
    #[prost(bytes, tag = "1")]
    user_id: Vec<u8>,
}

on_both_stores! {
    async fn a_text_that_is_not_utf_8_is_the_callers_mistake(app) {
        let mut client = tonic::client::Grpc::new(app.channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<RawRequest, GetUserResponse>::default();
        let path = "/pref.v1.PersonalizationService/GetUser".parse().unwrap();
        let request = tonic::Request::new(RawRequest { user_id: vec![0xff, 0xfe] });
        let refused = refusal(client.unary(request, path, codec).await);
        assert_eq!(refused, (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_none_is_refused_with_a_reason() {
    let app = TestApp::without_model_on_sqlite().await;
    for path in ["/pref.v1.PersonalizationService/Guess", "/pref.v2.PersonalizationService/Score"] {
        let mut client = tonic::client::Grpc::new(app.channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetUserRequest, GetUserResponse>::default();
        let request = tonic::Request::new(GetUserRequest::default());
        let refused = refusal(client.unary(request, path.parse().unwrap(), codec).await);
        assert_eq!(refused, (Code::Unimplemented, "NO_SUCH_METHOD".to_owned()));
    }
    app.stop().await;
}

on_both_stores! {
    async fn a_message_beyond_the_limit_is_too_large(app) {
        let huge = "a".repeat(MAX_MESSAGE_BYTES);
        let refused = refusal(app.submit(judge("ada", ("x", "a", &huge), Outcome::First)).await);
        assert_eq!(refused, (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
        let row = crate::app::row("p", "x", &[huge]);
        assert_eq!(refusal(app.import(vec![row]).await), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    }
}

on_both_stores! {
    async fn a_database_that_is_away_is_told_from_a_bug(app) {
        app.engine.store().close().await;
        let status = app.submit(judge("ada", COMPARISON, Outcome::First)).await.unwrap_err();
        let retry = tonic_types::StatusExt::get_details_retry_info(&status);
        assert!(retry.and_then(|info| info.retry_delay).is_some());
        assert_eq!(refusal::<()>(Err(status)), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()));
    }
}

async fn nobody_was_made(app: &TestApp) {
    assert_eq!(app.list_users(0, "").await.unwrap().users, []);
}
