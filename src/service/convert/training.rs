use super::fields::{request_id, unknown_number};
use super::{Limits, Page, count, timestamp};
use crate::domain::{
    Comparison, DatasetId, Invalid, JobId, Judgment, ModelVersion, Reliability, RequestId, UserId,
};
use crate::engine::{
    BaseFunction, EngineError, Example, JobState, MAX_BASE_FUNCTIONS, ModelDescription, ModelState,
    ModelSummary, PreferencesImported, Train, TrainValueHead, TrainingJob, Tune, UnixMillis,
};
use crate::service::proto;

/// The largest J that the caller may ask for.
const BASE_FUNCTIONS: u32 = MAX_BASE_FUNCTIONS as u32;
/// Texts at each end of a base function where the caller says nothing, and the most.
const EXAMPLES: (usize, usize) = (3, 20);

pub(in crate::service) fn import_header(
    given: Option<proto::ImportPreferencesRequest>,
) -> Result<(DatasetId, Option<RequestId>), EngineError> {
    use proto::import_preferences_request::Payload;
    match given.and_then(|message| message.payload) {
        Some(Payload::Header(header)) => {
            Ok((DatasetId::parse(header.dataset_id)?, request_id(&header.request_id)?))
        }
        Some(Payload::Row(_)) => {
            Err(Invalid::new("payload", "a row", "a header on the first message").into())
        }
        None => Err(Invalid::new("payload", "nothing", "a header on the first message").into()),
    }
}

/// One row of an import; nothing where it compares a text with itself.
pub(in crate::service) fn preference_row(
    given: proto::ImportPreferencesRequest,
    limits: &Limits,
) -> Result<Option<Judgment>, EngineError> {
    use proto::import_preferences_request::Payload;
    let row = match given.payload {
        Some(Payload::Row(row)) => row,
        Some(Payload::Header(_)) => {
            return Err(
                Invalid::new("payload", "a second header", "a row on every message but the first").into()
            );
        }
        None => return Err(Invalid::new("payload", "nothing", "a row on every message but the first").into()),
    };
    let user_id = UserId::parse(row.user_id)?;
    let prompt = limits.prompt("prompt", row.prompt)?;
    let response_a = limits.text("response_a", row.response_a)?;
    let response_b = limits.text("response_b", row.response_b)?;
    if !(0.0..=1.0).contains(&row.preference) {
        let allowed = "a number from 0 (response_b preferred) to 1 (response_a preferred)";
        return Err(Invalid::new("preference", row.preference, allowed).into());
    }
    if response_a == response_b {
        return Ok(None);
    }
    let comparison = Comparison::parse(prompt, response_a, response_b)?;
    let group = limits.text("group", row.group)?;
    Ok(Some(Judgment { user_id, comparison, preference: row.preference, group }))
}

pub(in crate::service) fn train(given: proto::TrainRequest) -> Result<Train, EngineError> {
    let tune = match proto::Tune::try_from(given.tune) {
        Ok(proto::Tune::Unspecified | proto::Tune::Head) => Tune::Head,
        Ok(proto::Tune::Lora) => Tune::Lora,
        Ok(proto::Tune::Full) => Tune::Full,
        Err(_) => return Err(unknown_number("tune", given.tune, "HEAD (1), LORA (2) or FULL (3)")),
    };
    let datasets = given.datasets.into_iter().enumerate().map(|(index, name)| {
        DatasetId::parse(name).map_err(|invalid| Invalid { field: format!("datasets[{index}]"), ..invalid })
    });
    let base_functions = match given.base_functions.unwrap_or(0) {
        0 => None,
        j if j <= BASE_FUNCTIONS => Some(j as usize),
        j => {
            return Err(Invalid::new(
                "base_functions",
                j,
                format!("0 (chosen from the data) to {BASE_FUNCTIONS}"),
            )
            .into());
        }
    };
    let as_of = match given.as_of_log_position {
        0 => None,
        at => Some(UnixMillis::try_from(at).map_err(|_| {
            Invalid::new("as_of_log_position", at, "a log position: milliseconds since 1970")
        })?),
    };
    let value_head = given.value_head.map(|given| {
        let name = "value_head.generator";
        if given.generator.is_empty() {
            return Err(Invalid::new(name, "nothing", "the name of a language model of the server's own"));
        }
        let within = |field: &str, given: u32, default: u32, (least, most): (u32, u32)| match given {
            0 => Ok(default as usize),
            count if (least..=most).contains(&count) => Ok(count as usize),
            count => Err(Invalid::new(
                format!("value_head.{field}"),
                count,
                format!("{least} to {most}, or 0 for {default}"),
            )),
        };
        Ok(TrainValueHead {
            generator: given.generator,
            prompts: within("prompts", given.prompts, 100, (10, 10_000))?,
            rollouts: within("rollouts", given.rollouts, 8, (2, 64))?,
            max_tokens: within("max_tokens", given.max_tokens, 128, (1, 4096))?,
        })
    });
    Ok(Train {
        value_head: value_head.transpose()?,
        datasets: datasets.collect::<Result<_, _>>()?,
        include_service_log: given.include_service_log,
        as_of,
        backbone: if given.backbone.is_empty() { "lexical".to_owned() } else { given.backbone },
        base_functions,
        tune,
        reliability: Reliability::new(given.half_life_days, given.lapse_rate)?,
        seed: given.seed,
        request_id: request_id(&given.request_id)?,
    })
}

pub(in crate::service) fn job_id(given: &str) -> Result<JobId, EngineError> {
    Ok(JobId::parse(given)?)
}

/// A page of jobs follows the time and id of the last one before it.
pub(in crate::service) fn list_training_jobs(
    given: &proto::ListTrainingJobsRequest,
) -> Result<Page<(UnixMillis, JobId)>, EngineError> {
    Page::parse(given.page_size, &given.page_token, |key| {
        let (created, job) = key.split_once(' ')?;
        Some((created.parse().ok()?, JobId::parse(job).ok()?))
    })
}

/// The token's inside for the page after `job`.
pub(in crate::service) fn job_key(job: &TrainingJob) -> String {
    format!("{} {}", job.created, job.job_id)
}

pub(in crate::service) fn list_models(
    given: &proto::ListModelsRequest,
) -> Result<Page<ModelVersion>, EngineError> {
    Page::parse(given.page_size, &given.page_token, |key| ModelVersion::parse(key).ok())
}

/// A version, or nothing for the active one.
pub(in crate::service) fn version(given: String) -> Result<Option<ModelVersion>, EngineError> {
    if given.is_empty() { Ok(None) } else { Ok(Some(ModelVersion::parse(given).map_err(in_field)?)) }
}

pub(in crate::service) fn activate_model(
    given: proto::ActivateModelRequest,
) -> Result<(ModelVersion, Option<RequestId>), EngineError> {
    Ok((ModelVersion::parse(given.version).map_err(in_field)?, request_id(&given.request_id)?))
}

pub(in crate::service) fn examples(given: u32) -> Result<usize, EngineError> {
    let (default, most) = EXAMPLES;
    Limits::count("examples", given, default, most)
}

/// On these messages the field is called `version`.
fn in_field(invalid: Invalid) -> Invalid {
    Invalid { field: "version".to_owned(), ..invalid }
}

impl From<PreferencesImported> for proto::ImportPreferencesResponse {
    fn from(imported: PreferencesImported) -> Self {
        let PreferencesImported { imported, duplicates, skipped } = imported;
        Self { imported, duplicates, skipped }
    }
}

impl From<TrainingJob> for proto::TrainingJob {
    fn from(job: TrainingJob) -> Self {
        let state = match job.state {
            JobState::Queued => proto::TrainingJobState::Queued,
            JobState::Running => proto::TrainingJobState::Running,
            JobState::Succeeded => proto::TrainingJobState::Succeeded,
            JobState::Failed => proto::TrainingJobState::Failed,
            JobState::Cancelled => proto::TrainingJobState::Cancelled,
        };
        Self {
            job_id: job.job_id.to_string(),
            state: state.into(),
            progress: job.progress,
            stage: job.stage,
            error: job.error.unwrap_or_default(),
            model_version: job.model_version.map(|version| version.to_string()).unwrap_or_default(),
            create_time: Some(timestamp(job.created)),
            start_time: job.started.map(timestamp),
            finish_time: job.finished.map(timestamp),
        }
    }
}

impl From<ModelSummary> for proto::Model {
    fn from(model: ModelSummary) -> Self {
        let state = match model.state {
            ModelState::Ready => proto::ModelState::Ready,
            ModelState::Activating => proto::ModelState::Activating,
            ModelState::Active => proto::ModelState::Active,
            ModelState::Retired => proto::ModelState::Retired,
        };
        Self {
            version: model.version.to_string(),
            state: state.into(),
            shared: model.shared,
            base_functions: model.base_functions as u32,
            backbone: model.backbone,
            create_time: Some(timestamp(model.created)),
            metrics: model.metrics.into_iter().collect(),
            users: model.users as u64,
            comparisons: model.comparisons,
            erased_users: count(model.erased_users),
            data_digest: model.data_digest,
            log_position: count(model.log_position.unwrap_or(0)),
            tie_weight: model.tie_weight,
            half_life_days: model.reliability.half_life_days(),
            lapse_rate: model.reliability.lapse_rate(),
        }
    }
}

impl From<ModelDescription> for proto::DescribeModelResponse {
    fn from(description: ModelDescription) -> Self {
        let base_functions = description.base_functions.into_iter().zip(0..).map(|(function, index)| {
            let BaseFunction {
                difference_share,
                common_share,
                prior_mean,
                prior_standard_deviation,
                label,
                top,
                bottom,
            } = function;
            let examples = |texts: Vec<Example>| texts.into_iter().map(Into::into).collect();
            proto::BaseFunction {
                index,
                difference_share,
                common_share,
                label,
                top: examples(top),
                bottom: examples(bottom),
                prior_mean,
                prior_standard_deviation,
            }
        });
        Self { model: Some(description.model.into()), base_functions: base_functions.collect() }
    }
}

impl From<Example> for proto::BaseFunctionExample {
    fn from(example: Example) -> Self {
        Self { prompt: example.prompt, response: example.response, value: example.value }
    }
}
