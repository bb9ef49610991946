//! Two tenants on one server: whatever of the other's a call names, it is not there.

use std::collections::BTreeSet;

use pref::domain::TenantId;
use pref::service::proto::*;
use tonic::{Code, Status};

use crate::app::{TestApp, answer, from_pool, judge, refusal, request_id, row};
use crate::artifact;
use crate::identity::{guarded, methods};
use crate::training::{on, tastes};

/// Their user, and texts that only they have.
const ADA: &str = "ada";
const PROMPT: &str = "What only they ask:";
const MEASURES: [&str; 4] = ["length", "word length", "sentence length", "lexical diversity"];

/// What one tenant has, as it tells the other's names to somebody.
struct Theirs {
    query: String,
    preference: String,
    request: String,
    job: String,
}

async fn settle(theirs: &TestApp) -> Theirs {
    let responses = ["Short.", "Something longer than that.", "Three."].map(str::to_owned);
    theirs.import(vec![row("secret", PROMPT, &responses)]).await.unwrap();
    let query = theirs.next_query(from_pool(ADA, "secret")).await.unwrap().queries.remove(0).query_id;
    let request = request_id();
    let opinion = SubmitPreferenceRequest {
        request_id: request.clone(),
        ..judge(ADA, (PROMPT, "Short.", "Something longer than that."), Outcome::First)
    };
    let preference = theirs.submit(opinion).await.unwrap().preference_id;
    theirs.import_preferences("secret", &tastes(1, 1)).await.unwrap();
    // One person is too few to train on: it fails, and is there.
    let job = theirs.train(on("secret")).await.unwrap().job_id;
    theirs.until_ended(&job).await;
    Theirs { query, preference, request, job }
}

/// All of theirs, to be compared.
async fn all(theirs: &TestApp) -> impl PartialEq + std::fmt::Debug {
    (
        theirs.get_user(ADA).await.unwrap(),
        theirs.export(ADA).await.unwrap(),
        theirs.list_pools().await.unwrap(),
        theirs.training().list_training_jobs(ListTrainingJobsRequest::default()).await.unwrap().into_inner(),
        theirs.training().list_models(ListModelsRequest::default()).await.unwrap().into_inner(),
        theirs.import_preferences("secret", &tastes(1, 1)).await.unwrap(),
    )
}

/// Calls every method with the other tenant's names.
struct Probe<'a> {
    ours: &'a TestApp,
    probed: BTreeSet<&'static str>,
}

impl Probe<'_> {
    /// The call that `method` answered must be refused like one that names nothing there is.
    fn finds_nothing<T: std::fmt::Debug>(
        &mut self,
        method: &'static str,
        answer: Result<T, Status>,
        reason: &str,
    ) {
        let (code, told) = refusal(answer);
        assert_eq!(told, reason, "{method}");
        assert!(matches!(code, Code::NotFound | Code::FailedPrecondition), "{method}: {code:?}");
        self.probed.insert(method);
    }

    /// What `method` listed must be nothing but ours.
    fn lists<T: std::fmt::Debug + PartialEq>(&mut self, method: &'static str, listed: T, ours: T) {
        assert_eq!(listed, ours, "{method}");
        self.probed.insert(method);
    }

    async fn people(&mut self, theirs: &Theirs) {
        let ours = self.ours;
        self.finds_nothing("NextQuery", ours.next_query(from_pool(ADA, "secret")).await, "POOL_NOT_FOUND");
        let late = ours.submit(answer(ADA, &theirs.query, Outcome::First)).await;
        self.finds_nothing("SubmitPreference", late, "QUERY_NOT_FOUND");
        let complete = |generator: &str, min_revision| GenerateRequest {
            user_id: ADA.to_owned(),
            prompt: PROMPT.to_owned(),
            generator: generator.to_owned(),
            min_revision,
            ..Default::default()
        };
        self.finds_nothing("Generate", ours.generate(complete("", 0)).await, "PROMPT_NOT_IN_POOL");
        self.finds_nothing("Generate", ours.generate(complete("pool:secret", 0)).await, "POOL_NOT_FOUND");
        self.finds_nothing("Generate", ours.generate(complete("", 1)).await, "REVISION_NOT_REACHED");
        let score = ScoreRequest {
            user_id: ADA.to_owned(),
            prompt: PROMPT.to_owned(),
            responses: vec!["Short.".to_owned()],
            min_revision: 1,
            ..Default::default()
        };
        self.finds_nothing("Score", ours.score(score).await, "REVISION_NOT_REACHED");
        self.finds_nothing("GetUser", ours.get_user(ADA).await, "USER_NOT_FOUND");
        self.lists("ListUsers", ours.list_users(0, "").await.unwrap().users, Vec::new());
        self.finds_nothing("DeleteUser", ours.delete_user(ADA).await, "USER_NOT_FOUND");
        self.finds_nothing("ListPreferences", ours.list_preferences(ADA).await, "USER_NOT_FOUND");
        let undone = ours.delete_preference(ADA, &theirs.preference).await;
        self.finds_nothing("DeletePreference", undone, "USER_NOT_FOUND");
        self.finds_nothing("ExportUser", ours.export(ADA).await, "USER_NOT_FOUND");
        // A request id is its tenant's and its person's.
        let opinion = SubmitPreferenceRequest {
            request_id: theirs.request.clone(),
            ..judge(ADA, ("x", "a", "b"), Outcome::Second)
        };
        let same_id = ours.submit(opinion).await.unwrap();
        assert_ne!(same_id.preference_id, theirs.preference);
        assert_eq!(same_id.profile.unwrap().answers, 1);
        ours.delete_user(ADA).await.unwrap();
    }

    async fn pools(&mut self) {
        let ours = self.ours;
        self.lists("ListPools", ours.list_pools().await.unwrap(), Vec::new());
        self.finds_nothing("DeletePool", ours.delete_pool("secret").await, "POOL_NOT_FOUND");
        // A pool of the same name is another pool: the same texts are new to it.
        let texts = ["Short.".to_owned(), "Something longer than that.".to_owned()];
        let imported = ours.import(vec![row("secret", PROMPT, &texts)]).await.unwrap();
        let counted = (imported.imported_responses, imported.pools[0].responses);
        self.lists("ImportCandidates", counted, (2, 2));
        ours.delete_pool("secret").await.unwrap();
    }

    async fn training(&mut self, theirs: &Theirs) {
        let ours = self.ours;
        self.finds_nothing("Train", ours.train(on("secret")).await, "DATASET_NOT_FOUND");
        let imported = ours.import_preferences("secret", &tastes(1, 1)).await.unwrap();
        self.lists("ImportPreferences", imported.duplicates, 0);
        self.finds_nothing("GetTrainingJob", ours.job(&theirs.job).await, "TRAINING_JOB_NOT_FOUND");
        self.finds_nothing("CancelTrainingJob", ours.cancel(&theirs.job).await, "TRAINING_JOB_NOT_FOUND");
        let watched = ours.watch(&theirs.job).await.map(drop);
        self.finds_nothing("WatchTrainingJob", watched, "TRAINING_JOB_NOT_FOUND");
        let jobs = ours.training().list_training_jobs(ListTrainingJobsRequest::default()).await;
        self.lists("ListTrainingJobs", jobs.unwrap().into_inner().jobs, Vec::new());

        let listed = ours.training().list_models(ListModelsRequest::default()).await.unwrap().into_inner();
        let versions = listed.models.into_iter().map(|model| model.version).collect();
        self.lists("ListModels", versions, vec!["test-1".to_owned()]);
        let version = "secret-1".to_owned();
        let model = ours.training().get_model(GetModelRequest { version: version.clone() }).await;
        self.finds_nothing("GetModel", model, "MODEL_NOT_FOUND");
        let described = DescribeModelRequest { version: version.clone(), examples: 0 };
        self.finds_nothing(
            "DescribeModel",
            ours.training().describe_model(described).await,
            "MODEL_NOT_FOUND",
        );
        let activated = ActivateModelRequest { version, request_id: String::new() };
        self.finds_nothing(
            "ActivateModel",
            ours.training().activate_model(activated).await,
            "MODEL_NOT_FOUND",
        );
    }
}

/// The first tenant, `default`, is served by `test-1`; the other by a model of its own.
async fn nothing_of_theirs_is_there(app: &TestApp) {
    let folder = tempfile::tempdir().unwrap();
    artifact::save(folder.path(), "secret-1", &MEASURES);
    let other = TenantId::parse("other").unwrap();
    app.engine.install_model(&other, &folder.path().to_string_lossy()).await.unwrap();
    let (ours, theirs) = (app.holder("default").await, app.holder("other").await);

    let names = settle(&theirs).await;
    let before = all(&theirs).await;
    let mut probe = Probe { ours: &ours, probed: BTreeSet::new() };
    probe.people(&names).await;
    probe.pools().await;
    probe.training(&names).await;
    assert_eq!(all(&theirs).await, before, "nothing of theirs has changed");

    let methods = methods();
    let every: BTreeSet<_> = methods.iter().filter_map(|method| method.path.rsplit('/').next()).collect();
    assert_eq!(probe.probed, every, "a method that is not probed may leak");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_another_tenant_is_there_on_sqlite() {
    let app = TestApp::configured(guarded).await;
    nothing_of_theirs_is_there(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_another_tenant_is_there_on_postgres() {
    let test = "nothing_of_another_tenant_is_there_on_postgres";
    let Some(app) = TestApp::configured_on_postgres(test, guarded).await else { return };
    nothing_of_theirs_is_there(&app).await;
    app.stop().await;
}
