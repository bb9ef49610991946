//! Models, and the change from one to another.

use std::path::Path;

use pref::domain::{ModelVersion, Outcome as Said, Reliability, TenantId};
use pref::engine::EngineError;
use pref::math::{Evidence, Posterior};
use pref::service::proto::*;
use tonic::{Code, Status};

use crate::app::{TestApp, answer, judge, refusal, refused_field, request_id};
use crate::training::{on, tastes, texts};
use crate::{artifact, on_both_stores};

impl TestApp {
    pub(crate) async fn model(&self, version: &str) -> Result<Model, Status> {
        let request = GetModelRequest { version: version.to_owned() };
        Ok(self.training().get_model(request).await?.into_inner().model.expect("a reply has a model"))
    }

    pub(crate) async fn activate(&self, version: &str) -> Result<Model, Status> {
        let request = ActivateModelRequest { version: version.to_owned(), request_id: String::new() };
        Ok(self.training().activate_model(request).await?.into_inner().model.expect("a reply has a model"))
    }

    async fn describe(&self, version: &str, examples: u32) -> Result<DescribeModelResponse, Status> {
        let request = DescribeModelRequest { version: version.to_owned(), examples };
        Ok(self.training().describe_model(request).await?.into_inner())
    }

    async fn versions(&self) -> Vec<String> {
        let page = self.training().list_models(ListModelsRequest::default()).await.unwrap();
        page.into_inner().models.into_iter().map(|model| model.version).collect()
    }

    /// λ from the user's whole log under the model that serves, with answers that hold so far, computed here.
    async fn refitted(&self, user: &str, reliability: Reliability) -> Vec<f64> {
        let model = self.engine.models().active(&TenantId::default_tenant()).unwrap();
        let mut evidence = Vec::new();
        let log = self.list_preferences(user).await.unwrap();
        let days = |line: &Preference| {
            let recorded = line.create_time.unwrap();
            (recorded.seconds as f64 + f64::from(recorded.nanos) / 1e9) / 86_400.0
        };
        let newest = log.iter().map(days).fold(f64::NEG_INFINITY, f64::max);
        for line in log {
            let left =
                reliability.half_life_days().map_or(1.0, |half| 0.5_f64.powf((newest - days(&line)) / half));
            let Comparison { prompt, response_a, response_b } = line.comparison.clone().unwrap();
            let phi = model.resident.features(vec![(prompt.clone(), response_a), (prompt, response_b)]).await;
            let phi = phi.unwrap();
            let (said, tie) = match line.outcome() {
                Outcome::First => (Said::First, 1.0),
                Outcome::Second => (Said::Second, 1.0),
                _ => (Said::Tie, model.tie_weight),
            };
            let preference = said.preference().unwrap();
            evidence.push(Evidence {
                delta: &phi[0] - &phi[1],
                preference,
                weight: line.weight * tie * left,
            });
        }
        let fit = Posterior::fit_with_lapse(&evidence, &model.prior, reliability.lapse_rate()).unwrap();
        fit.coefficients().as_slice().to_vec()
    }

    /// The user is served by `version`, and is where a refit of their log puts them.
    async fn assert_fitted(&self, user: &str, version: &str, revision: usize) {
        let profile = self.get_user(user).await.unwrap();
        assert_eq!((profile.model_version.as_str(), profile.revision as usize), (version, revision));
        let model = self.engine.models().active(&TenantId::default_tenant()).unwrap();
        let refitted = self.refitted(user, model.reliability).await;
        assert_eq!(profile.coefficients.len(), refitted.len());
        let close = profile.coefficients.iter().zip(&refitted).all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(close, "{:?} {refitted:?}", profile.coefficients);
    }
}

fn opinion(user: usize, prompt: usize) -> SubmitPreferenceRequest {
    let (x, long, short, _) = texts(prompt);
    let outcome = [Outcome::First, Outcome::Second, Outcome::Tie][(user + prompt) % 3];
    judge(&format!("v{user}"), (&x, &long, &short), outcome)
}

on_both_stores! {
    async fn from_imported_preferences_to_a_model_that_serves_and_back(app) {
        app.import_topics().await;
        let asked_before = app.ask("v0").await;
        for prompt in 0..4 {
            app.submit(opinion(1, prompt)).await.unwrap();
        }
        app.import_preferences("tastes", &tastes(12, 8)).await.unwrap();
        let version = app.trained(on("tastes")).await;
        let model = app.model(&version).await.unwrap();
        assert_eq!((model.state(), model.base_functions, model.users), (ModelState::Ready, 2, 12));
        assert_eq!((model.comparisons, model.backbone.as_str()), (192, "lexical-v2"));
        assert!(model.metrics["auc.seen_users.seen_pairs"] > 0.8, "{:?}", model.metrics);
        app.assert_fitted("v1", "test-1", 4).await;

        let active = app.activate(&version).await.unwrap();
        assert_eq!(active.state(), ModelState::Active);
        assert_eq!(app.model("").await.unwrap(), active);
        assert_eq!(app.model("test-1").await.unwrap().state(), ModelState::Retired);
        assert_eq!(app.versions().await, [version.clone(), "test-1".to_owned()]);

        app.assert_fitted("v1", &version, 4).await;
        let late = app.submit(answer("v0", &asked_before.query_id, Outcome::First)).await.unwrap();
        assert_eq!(late.profile.unwrap().model_version, version, "a question of the old model stays answerable");
        let query = app.ask("v0").await;
        assert_eq!(query.model_version, version);
        app.submit(answer("v0", &query.query_id, Outcome::Second)).await.unwrap();
        app.assert_fitted("v0", &version, 2).await;

        assert_eq!(app.activate("test-1").await.unwrap().state(), ModelState::Active);
        app.assert_fitted("v0", "test-1", 2).await;
    }
}

on_both_stores! {
    async fn answers_age_and_slip_as_the_model_says(app) {
        app.import_preferences("tastes", &tastes(12, 8)).await.unwrap();
        let half_life_days = Some(0.2 / 86_400.0);
        let version = app.trained(TrainRequest { half_life_days, lapse_rate: 0.1, ..on("tastes") }).await;
        let model = app.model(&version).await.unwrap();
        assert_eq!((model.half_life_days, model.lapse_rate), (half_life_days, 0.1));
        assert_eq!(app.model("test-1").await.unwrap().half_life_days, None);

        // Some answers from before, some read anew and some remembered.
        app.submit(opinion(1, 0)).await.unwrap();
        app.activate(&version).await.unwrap();
        app.assert_fitted("v1", &version, 1).await;
        for prompt in 1..5 {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            app.submit(opinion(1, prompt)).await.unwrap();
            app.assert_fitted("v1", &version, 1 + prompt).await;
        }
        let (aged, for_good) = (app.get_user("v1").await.unwrap(), app.refitted("v1", Reliability::default()).await);
        let apart = aged.coefficients.iter().zip(&for_good).map(|(one, other)| (one - other).abs());
        assert!(apart.fold(0.0, f64::max) > 0.01, "{:?} {for_good:?}", aged.coefficients);

        let newest = app.list_preferences("v1").await.unwrap().pop().unwrap();
        app.delete_preference("v1", &newest.preference_id).await.unwrap();
        app.assert_fitted("v1", &version, 6).await;

        let refused = app.train(TrainRequest { half_life_days: Some(0.0), ..on("tastes") }).await;
        assert_eq!(refused_field(refused), (Code::InvalidArgument, "half_life_days".to_owned()));
        let refused = app.train(TrainRequest { lapse_rate: 1.0, ..on("tastes") }).await;
        assert_eq!(refused_field(refused), (Code::InvalidArgument, "lapse_rate".to_owned()));
    }
}

on_both_stores! {
    async fn a_change_under_traffic_leaves_everybody_fitted_on_all_their_answers(app) {
        const PEOPLE: usize = 8;
        const ANSWERS: usize = 12;
        app.import_preferences("tastes", &tastes(8, 6)).await.unwrap();
        let version = app.trained(on("tastes")).await;
        for user in 0..PEOPLE {
            app.submit(opinion(user, 0)).await.unwrap();
        }
        let people = (0..PEOPLE).map(|user| async move {
            let mut versions = Vec::new();
            for prompt in 1..ANSWERS {
                let profile = app.submit(opinion(user, prompt)).await.unwrap().profile.unwrap();
                assert_eq!(profile.revision as usize, prompt + 1);
                versions.push(profile.model_version);
            }
            versions
        });
        let (served, activated) = tokio::join!(futures::future::join_all(people), app.activate(&version));
        assert_eq!(activated.unwrap().state(), ModelState::Active);
        for versions in served {
            let changed = versions.iter().position(|served| *served == version).unwrap_or(versions.len());
            assert!(versions[..changed].iter().all(|served| served == "test-1"));
            assert!(versions[changed..].iter().all(|served| *served == version), "nobody goes back");
        }
        for user in 0..PEOPLE {
            app.assert_fitted(&format!("v{user}"), &version, ANSWERS).await;
        }
    }
}

on_both_stores! {
    async fn a_model_is_described_by_shares_labels_and_texts(app) {
        app.import_preferences("tastes", &tastes(12, 8)).await.unwrap();
        let version = app.trained(on("tastes")).await;
        let description = app.describe(&version, 2).await.unwrap();
        assert_eq!(description.model.unwrap().version, version);
        let functions = &description.base_functions;
        assert_eq!(functions.len(), 2);
        assert!((functions.iter().map(|function| function.difference_share).sum::<f64>() - 1.0).abs() < 1e-9);
        let name = ModelVersion::parse(version.as_str()).unwrap();
        let row = app.engine.store().model(&TenantId::default_tenant(), &name).await.unwrap().unwrap();
        let prior = serde_json::from_str::<serde_json::Value>(&row.manifest).unwrap()["prior"].take();
        for (function, j) in functions.iter().zip(0..2) {
            assert_eq!(prior["mean"][j], function.prior_mean);
            let variance = prior["covariance"][j][j].as_f64().unwrap();
            assert_eq!(function.prior_standard_deviation, variance.sqrt());
        }
        for (function, index) in functions.iter().zip(0..) {
            assert_eq!((function.index, function.top.len(), function.bottom.len()), (index, 2, 2));
            let value = |text: &BaseFunctionExample| text.value;
            assert!(value(&function.top[0]) >= value(&function.top[1]));
            assert!(value(&function.top[1]) > value(&function.bottom[1]));
            assert!(value(&function.bottom[1]) >= value(&function.bottom[0]));
        }
        assert!(functions.iter().all(|function| !function.label.is_empty()), "{functions:?}");
        assert_eq!(refused_field(app.describe(&version, 21).await).1, "examples");
    }
}

on_both_stores! {
    async fn a_model_that_is_missing_or_damaged_is_refused_and_the_old_one_serves_on(app) {
        let missing = (Code::NotFound, "MODEL_NOT_FOUND".to_owned());
        assert_eq!(refusal(app.model("none").await), missing);
        assert_eq!(refusal(app.activate("none").await), missing);
        assert_eq!(refusal(app.describe("none", 0).await), missing);
        assert_eq!(refused_field(app.activate("").await).1, "version");

        app.import_preferences("tastes", &tastes(6, 6)).await.unwrap();
        let version = app.trained(on("tastes")).await;
        let name = ModelVersion::parse(version.as_str()).unwrap();
        let row = app.engine.store().model(&TenantId::default_tenant(), &name).await.unwrap().unwrap();
        std::fs::write(Path::new(&row.location).join("head.safetensors"), b"cut").unwrap();
        let refused = (Code::FailedPrecondition, "MODEL_DAMAGED".to_owned());
        assert_eq!(refusal(app.activate(&version).await), refused);
        assert_eq!(app.model(&version).await.unwrap().state(), ModelState::Ready);
        app.submit(opinion(0, 0)).await.unwrap();
        app.assert_fitted("v0", "test-1", 1).await;
    }
}

on_both_stores! {
    async fn a_version_is_one_model_for_good(app) {
        app.import_preferences("tastes", &tastes(6, 6)).await.unwrap();
        let version = app.trained(on("tastes")).await;
        let name = ModelVersion::parse(version.as_str()).unwrap();
        let row = app.engine.store().model(&TenantId::default_tenant(), &name).await.unwrap().unwrap();

        let others = ["word length", "length", "sentence length", "lexical diversity"];
        artifact::save(Path::new(&row.location), "another", &others);
        let refused = (Code::FailedPrecondition, "MODEL_REPLACED".to_owned());
        assert_eq!(refusal(app.activate(&version).await), refused);

        let folder = tempfile::tempdir().unwrap();
        artifact::save(folder.path(), "test-1", &others);
        let installed = app.engine.install_model(&TenantId::default_tenant(), &folder.path().to_string_lossy()).await;
        assert!(matches!(installed, Err(EngineError::VersionTaken { .. })), "another model has the name");
        app.submit(opinion(0, 0)).await.unwrap();
        app.assert_fitted("v0", "test-1", 1).await;
    }
}

on_both_stores! {
    async fn activating_again_is_harmless(app) {
        let request = ActivateModelRequest { version: "test-1".to_owned(), request_id: request_id() };
        let first = app.training().activate_model(request.clone()).await.unwrap().into_inner();
        assert_eq!(app.training().activate_model(request.clone()).await.unwrap().into_inner(), first);
        let other = ActivateModelRequest { version: "other".to_owned(), ..request };
        let refused = app.training().activate_model(other).await;
        assert_eq!(refusal(refused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    }
}
