//! Requests and credentials that are nearly right (tests/support/mutate.rs): whatever arrives, the server says what is wrong with it,
//! and never that it failed itself.

use pref::service::proto::*;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::app::{TestApp, Wire, answer, from_pool, judge, request_id, row};
use crate::identity::guarded;
use crate::mutate::Mutator;
use crate::tokens::Issuer;

/// Messages of a stream that are read.
const MESSAGES: usize = 8;

/// Bytes as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

async fn call(app: &TestApp, path: &'static str, message: Vec<u8>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::<Wire>::new(app.channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let request = Request::new(tokio_stream::iter([message]));
    let mut replies = client.streaming(request, PathAndQuery::from_static(path), Raw).await?.into_inner();
    for _ in 0..MESSAGES {
        if replies.message().await?.is_none() {
            break;
        }
    }
    Ok(())
}

/// A valid request for each method, several where they differ.
fn requests(query_id: &str, preference_id: &str) -> Vec<(&'static str, Vec<u8>)> {
    let candidates = |prompt: &str| Candidates {
        prompt: prompt.to_owned(),
        responses: vec!["One.".to_owned(), "Another, rather longer.".to_owned(), "A third".to_owned()],
    };
    let user_id = || "ada".to_owned();
    let ask = |source| NextQueryRequest { source: Some(source), count: 2, ..from_pool("ada", "topics") };
    macro_rules! of {
        ($service:literal, $method:literal, $request:expr) => {
            (concat!("/pref.v1.", $service, "/", $method), $request.encode_to_vec())
        };
    }
    vec![
        of!("PersonalizationService", "NextQuery", from_pool("ada", "topics")),
        of!(
            "PersonalizationService",
            "NextQuery",
            ask(next_query_request::Source::Candidates(candidates("x")))
        ),
        of!("PersonalizationService", "SubmitPreference", answer("ada", query_id, Outcome::First)),
        of!(
            "PersonalizationService",
            "SubmitPreference",
            SubmitPreferenceRequest {
                weight: Some(2.0),
                request_id: request_id(),
                ..judge("bob", ("x", "a b c", "d"), Outcome::Tie)
            }
        ),
        of!(
            "PersonalizationService",
            "Score",
            ScoreRequest {
                user_id: user_id(),
                prompt: "x".to_owned(),
                responses: candidates("x").responses,
                ..Default::default()
            }
        ),
        of!(
            "PersonalizationService",
            "Generate",
            GenerateRequest { user_id: user_id(), prompt: "On tea:".to_owned(), ..Default::default() }
        ),
        of!("PersonalizationService", "GetUser", GetUserRequest { user_id: user_id(), min_revision: 1 }),
        of!(
            "PersonalizationService",
            "ListUsers",
            ListUsersRequest { page_size: 2, page_token: "ada".to_owned() }
        ),
        of!(
            "PersonalizationService",
            "DeleteUser",
            DeleteUserRequest { user_id: "eve".to_owned(), request_id: request_id() }
        ),
        of!("PersonalizationService", "ExportUser", ExportUserRequest { user_id: user_id() }),
        of!(
            "PersonalizationService",
            "ListPreferences",
            ListPreferencesRequest { user_id: user_id(), page_size: 1, page_token: "1".to_owned() }
        ),
        of!(
            "PersonalizationService",
            "DeletePreference",
            DeletePreferenceRequest {
                user_id: user_id(),
                preference_id: preference_id.to_owned(),
                request_id: request_id()
            }
        ),
        of!("CandidateService", "ImportCandidates", row("p", "x", &candidates("x").responses)),
        of!("CandidateService", "ListPools", ListPoolsRequest { page_size: 1, page_token: "a".to_owned() }),
        of!(
            "CandidateService",
            "DeletePool",
            DeletePoolRequest { pool: "p".to_owned(), request_id: request_id() }
        ),
        of!(
            "TrainingService",
            "Train",
            TrainRequest {
                datasets: vec!["d".to_owned()],
                include_service_log: true,
                backbone: "lexical".to_owned(),
                ..Default::default()
            }
        ),
        of!("TrainingService", "GetTrainingJob", GetTrainingJobRequest { job_id: request_id() }),
        of!("TrainingService", "ListTrainingJobs", ListTrainingJobsRequest::default()),
        of!("TrainingService", "GetModel", GetModelRequest { version: "test-1".to_owned() }),
        of!(
            "TrainingService",
            "DescribeModel",
            DescribeModelRequest { version: "test-1".to_owned(), examples: 2 }
        ),
        of!("TrainingService", "ListModels", ListModelsRequest::default()),
    ]
}

/// What a server may say to rubbish.
fn is_told_why(status: &Status) -> bool {
    let reason = status.get_error_details().error_info().is_some_and(|info| info.domain == "pref.dev");
    reason && !matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_makes_the_server_fail() {
    let app = TestApp::configured(|_, service| service.training = false).await;
    app.import_topics().await;
    let query = app.ask("ada").await;
    let judged = app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
    let (paths, corpus): (Vec<_>, Vec<_>) =
        requests(&query.query_id, &judged.preference_id).into_iter().unzip();
    let mut inputs = Mutator::new();
    while let Some((place, message)) = inputs.next(&corpus) {
        if let Err(status) = call(&app, paths[place], message.clone()).await {
            assert!(is_told_why(&status), "{} {}: {status:?}", paths[place], hex::encode(&message));
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_but_the_right_one_is_taken() {
    let issuer = Issuer::new();
    let access = issuer.access().await;
    let app = TestApp::configured(|engine, service| {
        guarded(engine, service);
        service.access = access;
    })
    .await;
    let token = issuer.token(serde_json::json!({}));
    let corpus = [
        token.clone().into_bytes(),
        format!("Bearer {}", pref::domain::ApiKey::generate().expose()).into_bytes(),
    ];
    let mut inputs = Mutator::new();
    while let Some((_, credential)) = inputs.next(&corpus) {
        let Ok(credential) = String::from_utf8(credential) else { continue };
        // What no header can carry never arrives.
        if credential.parse::<tonic::metadata::AsciiMetadataValue>().is_err() || is_right(&credential, &token)
        {
            continue;
        }
        let told = app.caller(&credential).list_users(0, "").await;
        let told = told.expect_err(&format!("{credential:?} is not {token:?}"));
        assert!(is_told_why(&told) && told.code() == Code::Unauthenticated, "{credential:?}: {told:?}");
    }
    app.stop().await;
}

/// Whether it is the token, however the word before it is written.
fn is_right(credential: &str, token: &str) -> bool {
    let words: Vec<_> = credential.split_whitespace().collect();
    let same = |word| token.split_whitespace().nth(1) == Some(word);
    matches!(words[..], [scheme, word] if scheme.eq_ignore_ascii_case("bearer") && same(word))
}
