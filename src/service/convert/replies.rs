use std::time::Duration;

use crate::domain::{Comparison, Judgment, Outcome};
use crate::engine::{
    Asked, CandidatesImported, ChoiceRow, Exported, Finish, Generation, GenerationEvent, PoolSummary,
    PreferenceRow, Profile, Question, Scored, ScoredResponse, Submitted, UnixMillis, UserRow,
};
use crate::service::proto;

impl From<Profile> for proto::UserProfile {
    fn from(profile: Profile) -> Self {
        Self {
            user_id: profile.user_id.to_string(),
            coefficients: profile.coefficients,
            standard_errors: profile.standard_errors,
            answers: count(profile.answers),
            revision: count(profile.revision),
            model_version: profile.model_version.to_string(),
            remaining_uncertainty: profile.remaining_uncertainty,
            converged: profile.converged,
        }
    }
}

impl From<Asked> for proto::NextQueryResponse {
    fn from(asked: Asked) -> Self {
        Self {
            queries: asked.questions.into_iter().map(Into::into).collect(),
            profile: Some(asked.profile.into()),
        }
    }
}

impl From<Question> for proto::Query {
    fn from(question: Question) -> Self {
        let Comparison { prompt, response_a, response_b } = question.comparison;
        Self {
            query_id: question.query_id.to_string(),
            prompt,
            response_a,
            response_b,
            information_gain: question.information_gain,
            predicted_preference: question.predicted_preference,
            model_version: question.model_version.to_string(),
            expire_time: Some(timestamp(question.expires)),
        }
    }
}

impl From<Submitted> for proto::SubmitPreferenceResponse {
    fn from(submitted: Submitted) -> Self {
        Self { preference_id: submitted.preference_id.to_string(), profile: Some(submitted.profile.into()) }
    }
}

impl From<Scored> for proto::ScoreResponse {
    fn from(scored: Scored) -> Self {
        Self {
            responses: scored.responses.into_iter().map(Into::into).collect(),
            revision: count(scored.revision),
            model_version: scored.model_version.to_string(),
        }
    }
}

impl From<ScoredResponse> for proto::ScoredResponse {
    fn from(response: ScoredResponse) -> Self {
        Self {
            index: u32::try_from(response.index).unwrap_or(u32::MAX),
            text: response.text,
            reward: response.reward,
            standard_error: response.standard_error,
        }
    }
}

impl From<UserRow> for proto::UserSummary {
    fn from(row: UserRow) -> Self {
        Self {
            user_id: row.user_id.to_string(),
            answers: count(row.posterior.map_or(0, |posterior| posterior.answers)),
            revision: count(row.revision),
            create_time: Some(timestamp(row.created)),
        }
    }
}

impl From<PreferenceRow> for proto::Preference {
    fn from(row: PreferenceRow) -> Self {
        Self {
            preference_id: row.preference_id.to_string(),
            revision: count(row.position),
            query_id: row.query_id.map(|id| id.to_string()).unwrap_or_default(),
            comparison: Some(row.comparison.into()),
            outcome: proto::Outcome::from(row.outcome).into(),
            weight: row.weight.get(),
            create_time: Some(timestamp(row.created)),
            delete_time: None,
        }
    }
}

impl From<Exported> for proto::ExportUserResponse {
    fn from(item: Exported) -> Self {
        use proto::export_user_response::Item;
        let item = match item {
            Exported::Profile(profile) => Item::Profile(profile.into()),
            Exported::Preference(row, undone) => {
                let delete_time = undone.map(timestamp);
                Item::Preference(proto::Preference { delete_time, ..row.into() })
            }
            Exported::Question(question) => Item::Query(question.into()),
            Exported::Choice(row) => Item::Choice(row.into()),
            Exported::Imported(dataset, judgment) => Item::Imported(proto::ImportedPreference {
                dataset_id: dataset.to_string(),
                row: Some(judgment.into()),
            }),
        };
        Self { item: Some(item) }
    }
}

impl From<ChoiceRow> for proto::GivenChoice {
    fn from(row: ChoiceRow) -> Self {
        Self {
            completion_id: row.completion_id.to_string(),
            index: row.choice,
            prompt: row.prompt,
            text: row.response,
            model_version: row.model_version.to_string(),
            create_time: Some(timestamp(row.created)),
            expire_time: Some(timestamp(row.expires)),
        }
    }
}

impl From<Judgment> for proto::PreferenceRow {
    fn from(Judgment { user_id, comparison, preference, group }: Judgment) -> Self {
        let Comparison { prompt, response_a, response_b } = comparison;
        Self { user_id: user_id.to_string(), prompt, response_a, response_b, preference, group }
    }
}

impl From<Comparison> for proto::Comparison {
    fn from(Comparison { prompt, response_a, response_b }: Comparison) -> Self {
        Self { prompt, response_a, response_b }
    }
}

impl From<Outcome> for proto::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::First => Self::First,
            Outcome::Second => Self::Second,
            Outcome::Tie => Self::Tie,
            Outcome::Neither => Self::Neither,
            Outcome::Skip => Self::Skip,
        }
    }
}

impl From<PoolSummary> for proto::Pool {
    fn from(pool: PoolSummary) -> Self {
        Self {
            name: pool.name.to_string(),
            prompts: count(pool.prompts),
            responses: count(pool.responses),
            revision: count(pool.revision),
            create_time: Some(timestamp(pool.created)),
        }
    }
}

impl From<CandidatesImported> for proto::ImportCandidatesResponse {
    fn from(imported: CandidatesImported) -> Self {
        Self {
            rows: imported.rows,
            imported_responses: imported.added,
            pools: imported.pools.into_iter().map(Into::into).collect(),
        }
    }
}

/// That a completion is on its way.
pub(in crate::service) fn started(generation: &Generation) -> proto::GenerateResponse {
    event(proto::generate_response::Event::Started(proto::GenerateStarted {
        seed: generation.seed,
        revision: count(generation.revision),
        model_version: generation.model_version.to_string(),
    }))
}

/// What happens to a completion.
pub(in crate::service) fn generation_event(
    happened: GenerationEvent,
    with_candidates: bool,
) -> proto::GenerateResponse {
    use proto::generate_response::Event;
    let generated = match happened {
        GenerationEvent::Delta(text) => return event(Event::Delta(proto::GenerateDelta { text })),
        GenerationEvent::Finished(generated) => *generated,
    };
    let completion = generated.completion().clone();
    let finish_reason = match completion.finish {
        Finish::Stop => proto::FinishReason::Stop,
        Finish::Length => proto::FinishReason::Length,
        Finish::Filtered => proto::FinishReason::ContentFilter,
    };
    let candidates = if with_candidates { generated.candidates } else { Vec::new() };
    let tokens = |tokens: Option<usize>| tokens.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX));
    event(Event::Finished(proto::GenerateFinished {
        text: completion.text,
        finish_reason: finish_reason.into(),
        reward: generated.reward,
        baseline_reward: generated.baseline_reward,
        candidates: candidates.into_iter().map(Into::into).collect(),
        prompt_tokens: tokens(generated.prompt_tokens),
        completion_tokens: tokens(completion.tokens.map(|ids| ids.len()).or(generated.completion_tokens)),
        generation_duration: Some(duration(generated.generation)),
        scoring_duration: Some(duration(generated.scoring)),
    }))
}

fn event(event: proto::generate_response::Event) -> proto::GenerateResponse {
    proto::GenerateResponse { event: Some(event) }
}

/// Unix milliseconds as the wire's timestamp.
pub(crate) fn timestamp(millis: UnixMillis) -> prost_types::Timestamp {
    let nanos = millis.rem_euclid(1000) * 1_000_000;
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: i32::try_from(nanos).unwrap_or(0) }
}

fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

/// A count of the store's, which is never negative, as the wire's.
pub(crate) fn count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
