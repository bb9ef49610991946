//! Many streams at once over both edges, of which some callers leave.

use std::sync::Arc;
use std::time::Duration;

use pref::generate::{LocalConfig, LocalGenerator};
use pref::model::{BackboneOptions, LanguageModel};
use pref::service::TenantLimits;
use pref::service::proto::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tonic::Status;

use crate::app::TestApp;
use crate::edge::{call, edge};
use crate::made_decoder::made_decoder;

const STREAMS: usize = 64;

/// Whoever leaves gives their place back, over whichever edge they came; whoever stays gets all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixty_four_streams_those_that_are_left_alone_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    let model = LanguageModel::open(&folder.path().to_string_lossy(), &BackboneOptions::default()).unwrap();
    let local = LocalGenerator::start(Arc::new(model), LocalConfig::default()).unwrap();
    let places = TenantLimits::new(0, STREAMS);
    let app = TestApp::configured(|engine, service| {
        engine.generators = vec!["made".to_owned()];
        service.tenant_limits = places.clone();
    })
    .await;
    app.engine.install_generator("made", Arc::new(local.clone()));
    let url = edge(&app, |config| config.tenant_limits = places.clone()).await;

    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let storm: Vec<_> = (0..STREAMS)
        .map(|n| {
            let leaves_after = rng.random_bool(0.6).then(|| rng.random_range(0..6));
            let (client, url) = (app.personalization(), url.clone());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    over_grpc(client, leaves_after).await
                } else {
                    over_http(&url, leaves_after).await
                }
            })
        })
        .collect();
    let mut stayed = 0;
    for stream in storm {
        stayed += usize::from(stream.await.unwrap());
    }
    assert!((10..50).contains(&stayed), "{stayed} of 64 stayed to the end");

    // A server hears of a caller who left a moment later, and a completion that has come to its end meanwhile makes room for one more.
    let (mut held, mut refused) = (Vec::new(), false);
    for _ in 0..1000 {
        match app.personalization().generate(asked()).await {
            Ok(stream) => held.push(stream.into_inner()),
            Err(status) => {
                assert_eq!(crate::app::refusal(Err::<(), _>(status)).1, "TOO_MANY_GENERATIONS");
                refused = held.len() >= STREAMS;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if refused || held.len() == 2 * STREAMS {
            break;
        }
    }
    assert!(held.len() >= STREAMS, "every place came back: {}", held.len());
    assert!(refused, "and no more than there were");
    drop(held);
    app.stop().await;
    tokio::task::spawn_blocking(move || local.shutdown()).await.unwrap();
}

fn asked() -> GenerateRequest {
    GenerateRequest {
        prompt: "One day".to_owned(),
        strategy: GenerationStrategy::Unguided.into(),
        sampling: Some(Sampling { max_tokens: Some(60), ..Default::default() }),
        ..Default::default()
    }
}

type Client = personalization_service_client::PersonalizationServiceClient<crate::app::Wire>;

/// Whether the caller stayed to the end, which they saw.
async fn over_grpc(mut client: Client, leaves_after: Option<usize>) -> bool {
    let mut events = client.generate(asked()).await.unwrap().into_inner();
    let (mut seen, mut finished) = (0, false);
    while let Some(message) = events.message().await.unwrap_or_else(|status: Status| panic!("{status}")) {
        finished |= matches!(message.event, Some(generate_response::Event::Finished(_)));
        seen += 1;
        if leaves_after.is_some_and(|after| seen > after) {
            return false;
        }
    }
    assert!(finished);
    true
}

async fn over_http(url: &str, leaves_after: Option<usize>) -> bool {
    let body = json!({"model": "made", "stream": true, "max_tokens": 60, "pref": {"strategy": "unguided"},
        "messages": [{"role": "user", "content": "One day"}]});
    let mut response = call("POST", format!("{url}/v1/chat/completions"), &[], Some(body)).await;
    assert_eq!(response.status(), 200);
    let (mut text, mut seen) = (String::new(), 0);
    while let Some(piece) = response.chunk().await.unwrap() {
        text += &String::from_utf8_lossy(&piece);
        seen += 1;
        if leaves_after.is_some_and(|after| seen > after) {
            return false;
        }
    }
    assert!(
        text.contains("\"finish_reason\":\"length\"") || text.contains("\"finish_reason\":\"stop\""),
        "{text}"
    );
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    true
}
