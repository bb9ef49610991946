//! How many models a server keeps in memory.

use std::time::Duration;

use pref::domain::TenantId;
use pref::service::proto::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::app::{TestApp, judge, refusal};
use crate::artifact;
use crate::identity::guarded;
use crate::replicas::until;

const COMPARISON: (&str, &str, &str) = ("On tea:", "Short.", "Many more words than that, and then some.");

async fn submit(caller: &TestApp) -> Result<SubmitPreferenceResponse, Status> {
    caller.submit(judge("ada", COMPARISON, Outcome::First)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_used_longest_ago_makes_room_and_comes_back_when_it_is_asked_for() {
    let app = TestApp::configured(|engine, service| {
        guarded(engine, service);
        engine.resident_models = 1;
        engine.change_poll = Duration::from_millis(50);
    })
    .await;
    let (ours, theirs) = (app.holder("default").await, app.holder("other").await);
    submit(&ours).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let measures = ["length", "hedging", "word length", "lexical diversity"];
    artifact::save(folder.path(), "other-1", &measures);
    let other = TenantId::parse("other").unwrap();
    app.engine.install_model(&other, &folder.path().to_string_lossy()).await.unwrap();
    submit(&theirs).await.unwrap();
    until("the first model stays in memory", async || app.engine.models().resident() == 1).await;

    let away = submit(&ours).await.unwrap_err();
    assert!(away.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert_eq!(refusal::<()>(Err(away)), (Code::Unavailable, "MODEL_NOT_RESIDENT".to_owned()));
    until("the first model never comes back", async || submit(&ours).await.is_ok()).await;
    let profile = ours.get_user("ada").await.unwrap();
    assert_eq!((profile.answers, profile.model_version.as_str()), (2, "test-1"));

    assert_eq!(refusal(theirs.get_user("ada").await).1, "MODEL_NOT_RESIDENT");
    until("the second model never comes back", async || theirs.get_user("ada").await.is_ok()).await;
    assert_eq!(theirs.get_user("ada").await.unwrap().answers, 1);
    until("both models stay in memory", async || app.engine.models().resident() == 1).await;
    app.stop().await;
}
