//! Several servers on one Postgres: what is changed through one holds on all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use pref::domain::{ModelVersion, TenantId, UserId};
use pref::service::proto::candidate_service_client::CandidateServiceClient;
use pref::service::proto::training_service_client::TrainingServiceClient;
use pref::service::proto::*;
use pref::store::{Database, Store, StoreConfig};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tonic::Code;

use crate::app::{TestApp, answer, from_pool, judge, refusal, row};
use crate::artifact;
use crate::postgres::TestDatabase;
use crate::process::Server;

/// Longer than any change takes to spread; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// A second model.
fn second_model(folder: &Path) {
    artifact::save(folder, "test-2", &["length", "hedging", "word length", "lexical diversity"]);
}

async fn profile(server: &Server, user: &str, min_revision: u64) -> Result<UserProfile, tonic::Status> {
    let request = GetUserRequest { user_id: user.to_owned(), min_revision };
    Ok(server.client().get_user(request).await?.into_inner().profile.expect("a reply has a profile"))
}

/// Waits until `is_done`.
pub(crate) async fn until(what: &str, mut is_done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_done().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_served_by(server: &Server, version: &str) {
    until(&format!("{version} never served"), async || {
        profile(server, "ada", 0).await.is_ok_and(|profile| profile.model_version == version)
    })
    .await;
}

async fn import(server: &Server, prompt: &str, responses: &[&str]) {
    let responses: Vec<_> = responses.iter().map(|words| (*words).to_owned()).collect();
    let rows = tokio_stream::iter([row("topics", prompt, &responses)]);
    CandidateServiceClient::new(server.channel.clone()).import_candidates(rows).await.unwrap();
}

async fn ask(server: &Server) -> Result<Query, tonic::Status> {
    Ok(server.client().next_query(from_pool("ada", "topics")).await?.into_inner().queries.remove(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_postgres_are_one_service() {
    let test = "two_servers_on_one_postgres_are_one_service";
    let Some(database) = TestDatabase::create(test).await else { return };
    let [one_dir, two_dir, model] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let one = Server::start(one_dir.path(), Some(&database.url())).await;
    let two = Server::beside(two_dir.path(), &database.url()).await;

    // A question of one, answered through the other, is known to the first at once.
    import(&one, "On tea:", &["Short.", "Many more words than that, and then some."]).await;
    let query = ask(&two).await.unwrap();
    one.client().submit_preference(answer("ada", &query.query_id, Outcome::First)).await.unwrap();
    assert_eq!(profile(&two, "ada", 1).await.unwrap(), profile(&one, "ada", 1).await.unwrap());

    // A third one brings another model; it serves everywhere, and so does the first one again.
    second_model(model.path());
    let (url, place) = (database.url(), model.path().to_string_lossy());
    let three = Server::launch(model.path(), Some(&url), &["--model", &place]).await;
    for server in [&one, &two, &three] {
        until_served_by(server, "test-2").await;
    }
    assert_eq!(profile(&two, "ada", 1).await.unwrap(), profile(&one, "ada", 1).await.unwrap());
    let request = ActivateModelRequest { version: "test-1".to_owned(), request_id: String::new() };
    TrainingServiceClient::new(two.channel.clone()).activate_model(request).await.unwrap();
    for server in [&one, &two, &three] {
        until_served_by(server, "test-1").await;
    }

    // A pool that was deleted and made anew has nothing of the old one, though its revisions begin again.
    let request = DeletePoolRequest { pool: "topics".to_owned(), request_id: String::new() };
    CandidateServiceClient::new(two.channel.clone()).delete_pool(request).await.unwrap();
    assert_eq!(refusal(ask(&one).await), (Code::NotFound, "POOL_NOT_FOUND".to_owned()));
    import(&two, "On rain:", &["Wet.", "As a matter of fact it is rather wet outside."]).await;
    assert_eq!(ask(&one).await.unwrap().prompt, "On rain:");

    let request = DeleteUserRequest { user_id: "ada".to_owned(), request_id: String::new() };
    one.client().delete_user(request).await.unwrap();
    assert_eq!(refusal(profile(&two, "ada", 0).await).0, Code::NotFound);
    let late = two.client().submit_preference(answer("ada", &query.query_id, Outcome::First)).await;
    assert_eq!(refusal(late).1, "USER_ERASED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_remembers_spares_it_a_read_and_never_passes_for_what_is_stored() {
    let test = "what_a_server_remembers_spares_it_a_read_and_never_passes_for_what_is_stored";
    let Some(database) = TestDatabase::create(test).await else { return };
    let [one_dir, two_dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one = Server::start(one_dir.path(), Some(&database.url())).await;
    let two = Server::beside(two_dir.path(), &database.url()).await;
    let mut sql = PgConnection::connect(database.url().expose_secret()).await.unwrap();
    import(&one, "On tea:", &["Short.", "Many more words than that, and then some."]).await;
    let submit = async |server: &Server, request: SubmitPreferenceRequest| {
        let reply = server.client().submit_preference(request).await?.into_inner();
        Ok::<_, tonic::Status>(reply.profile.expect("a reply has a profile"))
    };
    let texts: Vec<_> =
        (1..=5).map(|n| (format!("{}end", "word ".repeat(n)), format!("Incontrovertible {n}."))).collect();
    let judged = |user: &str, n: usize| judge(user, ("x", &texts[n].0, &texts[n].1), Outcome::First);

    // Whoever has to read a log that is damaged fails. A server remembers nobody before it listens for who is erased.
    let mut people = 0;
    let mut ada = String::new();
    until("the first server never remembers", async || {
        people += 1;
        ada = format!("ada {people}");
        let queries = one.client().next_query(from_pool(&ada, "topics")).await.unwrap().into_inner().queries;
        submit(&one, answer(&ada, &queries[0].query_id, Outcome::First)).await.unwrap();
        let damage = "UPDATE preference SET preference_id = 'no ' || preference_id WHERE user_id = $1";
        sqlx::query(damage).bind(&ada).execute(&mut sql).await.unwrap();
        let has_read = submit(&one, judged(&ada, 0)).await.is_err();
        let repair =
            "UPDATE preference SET preference_id = replace(preference_id, 'no ', '') WHERE user_id = $1";
        if !has_read {
            assert_eq!(submit(&two, judged(&ada, 1)).await.unwrap_err().code(), Code::Internal);
        }
        sqlx::query(repair).bind(&ada).execute(&mut sql).await.unwrap();
        !has_read
    })
    .await;

    // What the first server remembers is old after each answer that the second one has had.
    for (n, server) in [(1, &two), (2, &one), (3, &two), (4, &one)] {
        assert_eq!(submit(server, judged(&ada, n)).await.unwrap().revision, 2 + n as u64);
    }
    // Without the first of them they are the answers of somebody who gave these to one server.
    let request = ListPreferencesRequest { user_id: ada.clone(), page_size: 1, ..Default::default() };
    let first = two.client().list_preferences(request).await.unwrap().into_inner().preferences.remove(0);
    let request = DeletePreferenceRequest {
        user_id: ada.clone(),
        preference_id: first.preference_id,
        request_id: String::new(),
    };
    two.client().delete_preference(request).await.unwrap();
    for n in 0..5 {
        submit(&two, judged("bob", n)).await.unwrap();
    }
    let (ada_profile, bob) = (profile(&one, &ada, 7).await.unwrap(), profile(&one, "bob", 5).await.unwrap());
    assert_eq!((ada_profile.answers, bob.answers), (5, 5));
    assert_eq!(ada_profile.coefficients, bob.coefficients);
    let after_undo = submit(&one, judged(&ada, 4)).await.unwrap();
    assert_eq!((after_undo.answers, after_undo.revision), (6, 8));

    // An erasure is one everywhere, and whoever comes again begins anew.
    let request = DeleteUserRequest { user_id: ada.clone(), request_id: String::new() };
    two.client().delete_user(request).await.unwrap();
    assert_eq!(refusal(submit(&one, judged(&ada, 4)).await).1, "USER_ERASED");
    let query =
        one.client().next_query(from_pool(&ada, "topics")).await.unwrap().into_inner().queries.remove(0);
    let again = submit(&one, answer(&ada, &query.query_id, Outcome::First)).await.unwrap();
    assert_eq!((again.revision, again.answers), (1, 1));
}

/// Two apps on one database, whose second is told nothing that it does not ask for often.
async fn asked_often(test: &str) -> Option<TestApp> {
    TestApp::configured_on_postgres(test, |engine, _| {
        engine.change_poll = Duration::from_millis(50);
        engine.job_lease = Duration::from_millis(100);
    })
    .await
}

/// Registers `test-2`, which lies in `folder`.
async fn register_second(app: &TestApp, folder: &Path) -> ModelVersion {
    second_model(folder);
    let version = ModelVersion::parse("test-2").unwrap();
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let place = folder.to_string_lossy();
    let tenant = TenantId::default_tenant();
    app.engine.store().register_model(Some(&tenant), &version, &manifest, &place, 0).await.unwrap();
    version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_forgets_who_is_erased_through_another_and_everybody_once_it_hears_nothing() {
    let test = "a_server_forgets_who_is_erased_through_another_and_everybody_once_it_hears_nothing";
    let Some(app) = asked_often(test).await else { return };
    let remembered = || app.engine.config().recent_metrics.remembered();
    let judge =
        async |user: &str| app.submit(judge(user, ("x", "a b c", "d"), Outcome::First)).await.unwrap();
    until("ada and bob are never remembered", async || {
        judge("ada").await;
        judge("bob").await;
        remembered() == 2
    })
    .await;
    // Another server on the same database.
    let store = Store::connect(&StoreConfig::new(Database::Postgres(app.database_url()))).await.unwrap();
    let (tenant, ada) = (TenantId::default_tenant(), UserId::parse("ada").unwrap());
    store.delete_user(&tenant, &ada, &[], app.engine.now()).await.unwrap();
    until("ada is never forgotten", async || remembered() == 1).await;

    let listens = "query LIKE 'LISTEN%' OR query = 'SELECT 1'";
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND ({listens})"
    );
    let mut connection = PgConnection::connect(app.database_url().expose_secret()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(cut)).execute(&mut connection).await.unwrap();
    until("bob is never forgotten", async || remembered() == 0).await;
    until("nobody is remembered again", async || {
        judge("bob").await;
        remembered() == 1
    })
    .await;
    store.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_nobody_told_of_is_found_by_asking() {
    let Some(app) = asked_often("a_change_that_nobody_told_of_is_found_by_asking").await else { return };
    app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    register_second(&app, folder.path()).await;
    // As a restored backup would look, or a server whose notification was lost.
    let change = "UPDATE model_state SET state = 'RETIRED';
                  INSERT INTO model_state (tenant, model_version, state, changed)
                  VALUES ('default', 'test-2', 'ACTIVE', 0)";
    let mut connection = PgConnection::connect(app.database_url().expose_secret()).await.unwrap();
    sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
    until("test-2 never served", async || app.get_user("ada").await.unwrap().model_version == "test-2").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_whose_server_died_is_taken_up_by_another() {
    let Some(app) = asked_often("an_activation_whose_server_died_is_taken_up_by_another").await else {
        return;
    };
    app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let version = register_second(&app, folder.path()).await;
    let long_ago = app.engine.now() - 3_600_000;
    let tenant = TenantId::default_tenant();
    app.engine.store().begin_activation(&tenant, &version, long_ago).await.unwrap();
    until("test-2 never served", async || app.get_user("ada").await.unwrap().model_version == "test-2").await;
    app.stop().await;
}
