//! ImportPreferences, Train and the jobs.

use std::sync::Arc;

use pref::generate::{LocalConfig, LocalGenerator};
use pref::model::{BackboneOptions, LanguageModel};
use pref::service::proto::training_service_client::TrainingServiceClient;
use pref::service::proto::*;
use secrecy::SecretString;
use tonic::{Code, Status};

use crate::app::{TestApp, judge, refusal, refused_field, request_id};
use crate::made_decoder::made_decoder;
use crate::on_both_stores;
use crate::postgres::TestDatabase;
use crate::process::Server;

impl TestApp {
    pub(crate) async fn import_preferences(
        &self,
        dataset: &str,
        rows: &[PreferenceRow],
    ) -> Result<ImportPreferencesResponse, Status> {
        self.send_preferences(messages(dataset, "", rows)).await
    }

    pub(crate) async fn send_preferences(
        &self,
        messages: Vec<ImportPreferencesRequest>,
    ) -> Result<ImportPreferencesResponse, Status> {
        Ok(self.training().import_preferences(tokio_stream::iter(messages)).await?.into_inner())
    }

    pub(crate) async fn train(&self, request: TrainRequest) -> Result<TrainingJob, Status> {
        Ok(self.training().train(request).await?.into_inner().job.expect("a reply has a job"))
    }

    pub(crate) async fn job(&self, job_id: &str) -> Result<TrainingJob, Status> {
        let request = GetTrainingJobRequest { job_id: job_id.to_owned() };
        Ok(self.training().get_training_job(request).await?.into_inner().job.expect("a reply has a job"))
    }

    pub(crate) async fn cancel(&self, job_id: &str) -> Result<TrainingJob, Status> {
        let request = CancelTrainingJobRequest { job_id: job_id.to_owned(), request_id: String::new() };
        Ok(self.training().cancel_training_job(request).await?.into_inner().job.expect("a reply has a job"))
    }

    pub(crate) async fn watch(
        &self,
        job_id: &str,
    ) -> Result<tonic::Streaming<WatchTrainingJobResponse>, Status> {
        let request = WatchTrainingJobRequest { job_id: job_id.to_owned() };
        Ok(self.training().watch_training_job(request).await?.into_inner())
    }

    /// All states of a job from now to its end.
    pub(crate) async fn until_ended(&self, job_id: &str) -> Vec<TrainingJob> {
        let mut changes = self.watch(job_id).await.expect("the job can be watched");
        let mut states = Vec::new();
        while let Some(change) = changes.message().await.expect("the stream ends with the job") {
            states.push(change.job.expect("a change has a job"));
        }
        states
    }

    /// Trains and returns the model's version.
    pub(crate) async fn trained(&self, request: TrainRequest) -> String {
        let job = self.train(request).await.expect("the job is queued");
        let end = self.until_ended(&job.job_id).await.pop().expect("a watched job has a state");
        assert_eq!((end.state(), end.error.as_str()), (TrainingJobState::Succeeded, ""));
        end.model_version
    }
}

pub(crate) fn messages(
    dataset: &str,
    request_id: &str,
    rows: &[PreferenceRow],
) -> Vec<ImportPreferencesRequest> {
    use import_preferences_request::Payload;
    let header =
        ImportPreferencesHeader { dataset_id: dataset.to_owned(), request_id: request_id.to_owned() };
    std::iter::once(Payload::Header(header))
        .chain(rows.iter().cloned().map(Payload::Row))
        .map(|payload| ImportPreferencesRequest { payload: Some(payload) })
        .collect()
}

fn preference(user: &str, (prompt, a, b): (&str, &str, &str), preference: f64) -> PreferenceRow {
    PreferenceRow {
        user_id: user.to_owned(),
        prompt: prompt.to_owned(),
        response_a: a.to_owned(),
        response_b: b.to_owned(),
        preference,
        group: String::new(),
    }
}

/// People with even numbers like long answers, the others short ones; everybody likes to be thanked.
pub(crate) fn tastes(users: usize, prompts: usize) -> Vec<PreferenceRow> {
    let mut rows = Vec::new();
    for user in 0..users {
        let (name, likes_long) = (format!("u{user}"), user % 2 == 0);
        for prompt in 0..prompts {
            let (x, long, short, polite) = texts(prompt);
            rows.push(preference(&name, (&x, &long, &short), if likes_long { 1.0 } else { 0.0 }));
            rows.push(preference(&name, (&x, &short, &polite), if likes_long { 0.0 } else { 0.5 }));
        }
    }
    rows
}

/// A prompt with a long, a short and a polite answer.
pub(crate) fn texts(prompt: usize) -> (String, String, String, String) {
    (
        format!("Tell me about topic {prompt}."),
        format!("Topic {prompt} is wide, and much can be said of it, so let us begin at the beginning."),
        format!("Topic {prompt}: brief."),
        format!("Thank you for asking! Topic {prompt} in some words, if I may, please."),
    )
}

/// A training on one dataset.
pub(crate) fn on(dataset: &str) -> TrainRequest {
    TrainRequest { datasets: vec![dataset.to_owned()], base_functions: Some(2), ..Default::default() }
}

on_both_stores! {
    async fn importing_again_changes_nothing_and_equal_texts_are_counted(app) {
        let mut rows = tastes(2, 3);
        rows.push(preference("u0", ("x", "a", "a"), 1.0));
        let first = app.import_preferences("tastes", &rows).await.unwrap();
        assert_eq!((first.imported, first.duplicates, first.skipped), (12, 0, 1));
        let again = app.import_preferences("tastes", &rows).await.unwrap();
        assert_eq!((again.imported, again.duplicates, again.skipped), (0, 12, 1));

        let id = request_id();
        let first = app.send_preferences(messages("more", &id, &rows)).await.unwrap();
        assert_eq!(app.send_preferences(messages("more", &id, &rows)).await.unwrap(), first);
        let other = app.send_preferences(messages("more", &id, &rows[1..])).await;
        assert_eq!(refusal(other), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    }
}

on_both_stores! {
    async fn a_row_that_cannot_be_taken_is_named_and_those_before_it_stay(app) {
        let good = preference("u", ("x", "a", "b"), 1.0);
        let bad = [
            ("preference", PreferenceRow { preference: f64::NAN, ..good.clone() }),
            ("preference", PreferenceRow { preference: 1.5, ..good.clone() }),
            ("user_id", PreferenceRow { user_id: String::new(), ..good.clone() }),
            ("prompt", PreferenceRow { prompt: " ".to_owned(), ..good.clone() }),
        ];
        for (field, row) in bad {
            let refused = app.import_preferences("tastes", &[good.clone(), row]).await;
            assert_eq!(refused_field(refused), (Code::InvalidArgument, format!("rows[1].{field}")));
        }
        let long = PreferenceRow { response_a: "y".repeat(crate::app::MAX_TEXT_BYTES + 1), ..good.clone() };
        let refused = app.import_preferences("tastes", &[long]).await;
        assert_eq!(refused_field(refused), (Code::ResourceExhausted, "rows[0].response_a".to_owned()));
        let again = app.import_preferences("tastes", std::slice::from_ref(&good)).await.unwrap();
        assert_eq!(again.duplicates, 1);

        let without_header = messages("tastes", "", std::slice::from_ref(&good)).split_off(1);
        assert_eq!(refused_field(app.send_preferences(without_header).await).1, "payload");
        assert_eq!(refused_field(app.send_preferences(Vec::new()).await).1, "payload");
        let mut two_headers = messages("tastes", "", &[good]);
        two_headers.push(two_headers[0].clone());
        assert_eq!(refused_field(app.send_preferences(two_headers).await).1, "rows[1].payload");
        assert_eq!(refused_field(app.import_preferences("", &[]).await).1, "dataset_id");
    }
}

on_both_stores! {
    async fn a_training_that_cannot_begin_is_refused(app) {
        assert_eq!(refused_field(app.train(TrainRequest::default()).await).1, "datasets");
        assert_eq!(refusal(app.train(on("nowhere")).await), (Code::NotFound, "DATASET_NOT_FOUND".to_owned()));
        app.import_preferences("tastes", &tastes(2, 2)).await.unwrap();
        let many = TrainRequest { base_functions: Some(65), ..on("tastes") };
        assert_eq!(refused_field(app.train(many).await), (Code::InvalidArgument, "base_functions".to_owned()));
        let lora = TrainRequest { tune: Tune::Lora.into(), ..on("tastes") };
        assert_eq!(refused_field(app.train(lora).await).1, "tune", "lexical has no weights");
        let unknown = TrainRequest { tune: 9, ..on("tastes") };
        assert_eq!(refused_field(app.train(unknown).await).1, "tune");
        let (nobody, missing) = (request_id(), (Code::NotFound, "TRAINING_JOB_NOT_FOUND".to_owned()));
        assert_eq!(refusal(app.job(&nobody).await), missing);
        assert_eq!(refusal(app.cancel(&nobody).await), missing);
        assert_eq!(refusal(app.watch(&nobody).await), missing);
        assert_eq!(refused_field(app.job("no uuid").await), (Code::InvalidArgument, "job_id".to_owned()));
    }
}

on_both_stores! {
    async fn a_backbone_is_tuned_and_the_model_serves(app) {
        let folder = tempfile::tempdir().unwrap();
        made_decoder(folder.path());
        app.import_preferences("tastes", &tastes(10, 10)).await.unwrap();
        let backbone = folder.path().to_string_lossy().into_owned();
        let head = TrainRequest { backbone, ..on("tastes") };
        let lora = TrainRequest { tune: Tune::Lora.into(), ..head.clone() };
        let job = app.train(lora).await.unwrap();
        let states = app.until_ended(&job.job_id).await;
        let progress: Vec<_> = states.iter().map(|job| job.progress).collect();
        assert!(progress.is_sorted() && progress.last() == Some(&1.0), "{progress:?}");
        let tuned = &states.last().unwrap().model_version;
        let (prompt, long, short, _) = texts(0);
        let score = ScoreRequest {
            user_id: "ann".to_owned(),
            prompt,
            responses: vec![long, short],
            ..Default::default()
        };
        app.activate(tuned).await.unwrap();
        let scored = app.score(score.clone()).await.unwrap();
        assert_eq!(&scored.model_version, tuned);
        app.activate(&app.trained(head).await).await.unwrap();
        assert_ne!(app.score(score).await.unwrap().responses, scored.responses, "of another backbone");
    }
}

/// From two short completions of ten prompts nothing can be learned; the job comes as far as finding that out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_head_that_does_not_predict_fails_its_job_and_no_model_is_made() {
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    let model = LanguageModel::open(&folder.path().to_string_lossy(), &BackboneOptions::default()).unwrap();
    let local = LocalGenerator::start(Arc::new(model), LocalConfig::default()).unwrap();
    let app = TestApp::with_generators(&[("made", Arc::new(local.clone()))]).await;
    app.import_preferences("tastes", &tastes(6, 12)).await.unwrap();
    let wanted = |generator: &str, rollouts| TrainRequest {
        value_head: Some(TrainValueHead {
            generator: generator.to_owned(),
            prompts: 10,
            rollouts,
            max_tokens: 12,
        }),
        ..on("tastes")
    };
    for (request, field) in [
        (wanted("", 2), "value_head.generator"),
        (wanted("pool", 2), "value_head.generator"),
        (wanted("made", 1), "value_head.rollouts"),
    ] {
        assert_eq!(refused_field(app.train(request).await), (Code::InvalidArgument, field.to_owned()));
    }
    let before =
        app.training().list_models(ListModelsRequest::default()).await.unwrap().into_inner().models.len();
    let job = app.train(wanted("made", 2)).await.unwrap();
    let states = app.until_ended(&job.job_id).await;
    let progress: Vec<_> = states.iter().map(|job| job.progress).collect();
    assert!(progress.is_sorted(), "{progress:?}");
    let end = states.last().unwrap();
    assert_eq!(end.state(), TrainingJobState::Failed);
    assert!(end.error.contains("the value head does not predict"), "{}", end.error);
    let after =
        app.training().list_models(ListModelsRequest::default()).await.unwrap().into_inner().models.len();
    assert_eq!(before, after);
    app.stop().await;
    local.shutdown();
}

on_both_stores! {
    async fn a_job_that_fails_says_why_and_the_next_one_runs(app) {
        app.import_preferences("lonely", &tastes(1, 4)).await.unwrap();
        app.import_preferences("tastes", &tastes(6, 6)).await.unwrap();
        let lonely = app.train(on("lonely")).await.unwrap();
        let strange = TrainRequest { backbone: "no-such-model".to_owned(), ..on("tastes") };
        let strange = app.train(strange).await.unwrap();
        assert!(!app.trained(on("tastes")).await.is_empty());
        for (job, why) in [(lonely, "user_id: got \"u0\" on every line"), (strange, "no-such-model")] {
            let states = app.until_ended(&job.job_id).await;
            let end = states.last().unwrap();
            assert_eq!((end.state(), end.model_version.as_str()), (TrainingJobState::Failed, ""));
            assert!(end.error.contains(why), "{}", end.error);
        }
    }
}

on_both_stores! {
    async fn a_watched_job_tells_its_progress_to_the_end_and_a_repeat_gets_the_first_reply(app) {
        app.import_preferences("tastes", &tastes(6, 6)).await.unwrap();
        let request = TrainRequest { request_id: request_id(), ..on("tastes") };
        let job = app.train(request.clone()).await.unwrap();
        assert_eq!(job.state(), TrainingJobState::Queued);
        let states = app.until_ended(&job.job_id).await;
        let end = states.last().unwrap();
        assert_eq!((end.state(), end.progress), (TrainingJobState::Succeeded, 1.0));
        assert!(states.windows(2).all(|two| two[0].progress <= two[1].progress), "{states:?}");
        assert!(end.start_time.is_some() && end.finish_time.is_some());
        assert_eq!(app.until_ended(&job.job_id).await, std::slice::from_ref(end), "an ended job has one state");

        assert_eq!(app.train(request.clone()).await.unwrap(), job);
        let other = TrainRequest { seed: 1, ..request };
        assert_eq!(refusal(app.train(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
        let second = app.train(on("tastes")).await.unwrap();
        let page = |token: &str| ListTrainingJobsRequest { page_size: 1, page_token: token.to_owned() };
        let first = app.training().list_training_jobs(page("")).await.unwrap().into_inner();
        assert_eq!(first.jobs[0].job_id, second.job_id, "newest first");
        let last = app.training().list_training_jobs(page(&first.next_page_token)).await.unwrap().into_inner();
        assert_eq!((last.jobs, last.next_page_token.as_str()), (vec![end.clone()], ""));
    }
}

on_both_stores! {
    async fn a_job_under_way_can_be_cancelled_and_so_can_one_that_waits(app) {
        // Enough to be under way for a while.
        app.import_preferences("large", &tastes(200, 20)).await.unwrap();
        let request = TrainRequest { base_functions: Some(8), ..on("large") };
        let running = app.train(request.clone()).await.unwrap();
        let waiting = app.train(request).await.unwrap();
        let mut changes = app.watch(&running.job_id).await.unwrap();
        while changes.message().await.unwrap().unwrap().job.unwrap().state() != TrainingJobState::Running {}
        assert_eq!(app.cancel(&waiting.job_id).await.unwrap().state(), TrainingJobState::Cancelled);
        app.cancel(&running.job_id).await.unwrap();
        let end = app.until_ended(&running.job_id).await.pop().unwrap();
        assert_eq!((end.state(), end.model_version.as_str()), (TrainingJobState::Cancelled, ""));
        assert_eq!(app.cancel(&running.job_id).await.unwrap(), end, "cancelling again changes nothing");
    }
}

on_both_stores! {
    async fn the_services_own_log_is_trained_on_without_those_who_were_erased(app) {
        for row in tastes(6, 4) {
            let outcome = match row.preference {
                1.0 => Outcome::First,
                0.0 => Outcome::Second,
                _ => Outcome::Tie,
            };
            let texts = (row.prompt.as_str(), row.response_a.as_str(), row.response_b.as_str());
            app.submit(judge(&row.user_id, texts, outcome)).await.unwrap();
        }
        app.submit(judge("u0", ("x", "a", "b"), Outcome::Skip)).await.unwrap();
        let request = TrainRequest { datasets: Vec::new(), include_service_log: true, ..on("") };
        let before = app.trained(request.clone()).await;
        let model = app.model(&before).await.unwrap();
        assert_eq!((model.users, model.comparisons, model.erased_users), (6, 48, 0));
        assert!(model.log_position > 0);

        let as_of = app.train(TrainRequest { as_of_log_position: 1, ..request.clone() }).await.unwrap();
        let end = app.until_ended(&as_of.job_id).await.pop().unwrap();
        assert_eq!(end.state(), TrainingJobState::Failed, "there was no log in 1970");

        app.import_preferences("tastes", &tastes(6, 4)).await.unwrap();
        app.delete_user("u0").await.unwrap();
        assert_eq!(app.model(&before).await.unwrap().erased_users, 1);
        app.import_preferences("tastes", &[preference("u0", ("x", "a", "b"), 1.0)]).await.unwrap();
        let both = TrainRequest { datasets: vec!["tastes".to_owned()], ..request };
        let after = app.model(&app.trained(both).await).await.unwrap();
        assert_eq!(after.users, 5, "an erased person does not come back by an import");
    }
}

/// A server is killed while it trains; the next one on the same data begins the job again and ends it.
async fn killed_under_a_training(data_dir: &std::path::Path, database: Option<&SecretString>) {
    let server = Server::start(data_dir, database).await;
    let mut client = TrainingServiceClient::new(server.channel.clone());
    let rows = messages("large", "", &tastes(200, 20));
    client.import_preferences(tokio_stream::iter(rows)).await.unwrap();
    let request = TrainRequest { base_functions: Some(8), ..on("large") };
    let job_id = client.train(request).await.unwrap().into_inner().job.unwrap().job_id;
    let request = WatchTrainingJobRequest { job_id };
    let mut changes = client.watch_training_job(request.clone()).await.unwrap().into_inner();
    while changes.message().await.unwrap().unwrap().job.unwrap().state() != TrainingJobState::Running {}
    drop(server);

    let server = Server::start(data_dir, database).await;
    let mut client = TrainingServiceClient::new(server.channel.clone());
    let mut changes = client.watch_training_job(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    while let Some(change) = changes.message().await.unwrap() {
        states.push(change.job.unwrap());
    }
    let end = states.pop().unwrap();
    assert_eq!((end.state(), end.error.as_str()), (TrainingJobState::Succeeded, ""));
    assert!(states.iter().all(|job| job.state() == TrainingJobState::Running), "{states:?}");
    let request = GetModelRequest { version: end.model_version };
    let model = client.get_model(request).await.unwrap().into_inner().model.unwrap();
    assert_eq!((model.state(), model.users, model.comparisons), (ModelState::Ready, 200, 8000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_the_server_that_ran_it_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    killed_under_a_training(folder.path(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_the_server_that_ran_it_on_postgres() {
    let test = "a_job_survives_the_server_that_ran_it_on_postgres";
    let Some(database) = TestDatabase::create(test).await else { return };
    let folder = tempfile::tempdir().unwrap();
    killed_under_a_training(folder.path(), Some(&database.url())).await;
}
