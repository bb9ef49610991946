use super::fields::{guidance_scale, request_id, revision, risk_aversion, unknown_number, weight};
use super::{Limits, Page};
use crate::domain::{Candidates, Invalid, Outcome, PoolName, PreferenceId, QueryId, RequestId, UserId};
use crate::engine::{
    Acquisition, DeletePreference, EngineError, Generate, GenerateQuestion, GenerationStrategy,
    GeneratorName, NextQuery, Prompt, QuerySource, Sampling, Score, SubmitPreference, Target,
};
use crate::service::proto;

pub(in crate::service) fn next_query(
    given: proto::NextQueryRequest,
    limits: &Limits,
) -> Result<NextQuery, EngineError> {
    use proto::next_query_request::Source;
    let source = match given.source {
        Some(Source::Pool(pool)) => QuerySource::Pool(PoolName::parse(pool)?),
        Some(Source::Candidates(own)) => QuerySource::Candidates(limits.candidates("candidates", own, 2)?),
        Some(Source::Generate(source)) => {
            let asked = generate_question(source, limits).map_err(|error| error.within("generate"))?;
            QuerySource::Generate(asked)
        }
        None => return Err(Invalid::new("source", "nothing", "pool, candidates or generate").into()),
    };
    let strategy = match proto::QueryStrategy::try_from(given.strategy) {
        Ok(proto::QueryStrategy::Unspecified | proto::QueryStrategy::InformationGain) => {
            Acquisition::InformationGain
        }
        Ok(proto::QueryStrategy::DOptimal) => Acquisition::DOptimal,
        Ok(proto::QueryStrategy::Uncertainty) => Acquisition::Uncertainty,
        Ok(proto::QueryStrategy::Random) => Acquisition::Random,
        Err(_) => {
            let allowed = "INFORMATION_GAIN (1), D_OPTIMAL (2), UNCERTAINTY (3) or RANDOM (4)";
            return Err(unknown_number("strategy", given.strategy, allowed));
        }
    };
    Ok(NextQuery {
        user: UserId::parse(given.user_id)?,
        source,
        strategy,
        count: Limits::count("count", given.count, 1, limits.questions)?,
        request_id: request_id(&given.request_id)?,
    })
}

fn generate_question(given: proto::GenerateSource, limits: &Limits) -> Result<GenerateQuestion, EngineError> {
    let candidates = match given.candidates {
        0 => None,
        1 => return Err(Invalid::new("candidates", 1, "at least 2, or 0 for the server's default").into()),
        count => Some(Limits::count("candidates", count, 2, limits.responses)?),
    };
    Ok(GenerateQuestion {
        prompt: limits.prompt("prompt", given.prompt)?,
        generator: GeneratorName::parse(&given.generator)?,
        candidates,
        sampling: sampling(given.sampling.unwrap_or_default())?,
        guidance_scale: guidance_scale(given.guidance_scale)?,
    })
}

pub(in crate::service) fn submit_preference(
    given: proto::SubmitPreferenceRequest,
    limits: &Limits,
) -> Result<SubmitPreference, EngineError> {
    use proto::submit_preference_request::Target as Given;
    let user = UserId::parse(given.user_id)?;
    let target = match given.target {
        Some(Given::QueryId(id)) => Target::Query(QueryId::parse(&id)?),
        Some(Given::Comparison(comparison)) => Target::Comparison(limits.comparison(comparison)?),
        None => return Err(Invalid::new("target", "nothing", "query_id or comparison").into()),
    };
    let outcome = match proto::Outcome::try_from(given.outcome) {
        Ok(proto::Outcome::First) => Outcome::First,
        Ok(proto::Outcome::Second) => Outcome::Second,
        Ok(proto::Outcome::Tie) => Outcome::Tie,
        Ok(proto::Outcome::Neither) => Outcome::Neither,
        Ok(proto::Outcome::Skip) => Outcome::Skip,
        Ok(proto::Outcome::Unspecified) | Err(_) => {
            let allowed = "FIRST (1), SECOND (2), TIE (3), NEITHER (4) or SKIP (5)";
            return Err(unknown_number("outcome", given.outcome, allowed));
        }
    };
    Ok(SubmitPreference {
        user,
        target,
        outcome,
        weight: weight(given.weight)?,
        request_id: request_id(&given.request_id)?,
    })
}

pub(in crate::service) fn generate(
    given: proto::GenerateRequest,
    limits: &Limits,
) -> Result<Generate, EngineError> {
    // Nobody in particular is the average person, as an unknown one is.
    let user = if given.user_id.is_empty() { None } else { Some(UserId::parse(given.user_id)?) };
    let prompt = match (given.prompt.is_empty(), given.messages.is_empty()) {
        (false, true) | (true, true) => Prompt::User(limits.prompt("prompt", given.prompt)?),
        (true, false) => messages(given.messages, limits)?,
        (false, false) => {
            return Err(Invalid::new("messages", "a prompt as well", "either prompt or messages").into());
        }
    };
    let strategy = match proto::GenerationStrategy::try_from(given.strategy) {
        Ok(proto::GenerationStrategy::Unspecified | proto::GenerationStrategy::BestOfN) => {
            GenerationStrategy::BestOfN
        }
        Ok(proto::GenerationStrategy::ValueGuided) => GenerationStrategy::ValueGuided,
        Ok(proto::GenerationStrategy::StyleGuided) => GenerationStrategy::StyleGuided,
        Ok(proto::GenerationStrategy::Unguided) => GenerationStrategy::Unguided,
        Err(_) => {
            let allowed = "BEST_OF_N (1), VALUE_GUIDED (2), STYLE_GUIDED (3) or UNGUIDED (4)";
            return Err(unknown_number("strategy", given.strategy, allowed));
        }
    };
    let candidates = match given.candidates {
        0 => None,
        count => Some(Limits::count("candidates", count, 1, limits.responses)?),
    };
    Ok(Generate {
        user,
        prompt,
        strategy,
        generator: GeneratorName::parse(&given.generator)?,
        candidates,
        risk_aversion: risk_aversion(given.risk_aversion)?,
        guidance_scale: guidance_scale(given.guidance_scale)?,
        seed: given.sampling.as_ref().and_then(|sampling| sampling.seed),
        sampling: sampling(given.sampling.unwrap_or_default())?,
        min_revision: revision(given.min_revision)?,
        reject_early: given.reject_early,
        remembered: None,
    })
}

/// A conversation: of known roles, with the user's message last.
fn messages(given: Vec<proto::Message>, limits: &Limits) -> Result<Prompt, EngineError> {
    let mut messages = Vec::with_capacity(given.len());
    for (at, message) in given.into_iter().enumerate() {
        if !["system", "user", "assistant"].contains(&message.role.as_str()) {
            let field = format!("messages[{at}].role");
            return Err(
                Invalid::new(field, format!("{:?}", message.role), "system, user or assistant").into()
            );
        }
        messages.push((message.role, limits.text(&format!("messages[{at}].content"), message.content)?));
    }
    match messages.last() {
        Some((role, content)) if role == "user" && !content.trim().is_empty() => {
            match messages.as_mut_slice() {
                // Which a model without a chat template can answer, too.
                [(_, alone)] => Ok(Prompt::User(std::mem::take(alone))),
                _ => Ok(Prompt::Chat(messages)),
            }
        }
        _ => Err(Invalid::new("messages", "another end", "a user's message at the end, not blank").into()),
    }
}

/// How tokens are drawn; what is absent is the generator's default.
fn sampling(given: proto::Sampling) -> Result<Sampling, EngineError> {
    let default = Sampling::default();
    let sampling = Sampling {
        temperature: given.temperature.unwrap_or(default.temperature),
        top_k: given.top_k.map(|k| k as usize),
        top_p: given.top_p.unwrap_or(default.top_p),
        min_p: given.min_p.unwrap_or(default.min_p),
        max_tokens: given.max_tokens.map_or(default.max_tokens, |tokens| tokens as usize),
        stop: given.stop,
        ..default
    };
    sampling.check().map_err(|error| error.within("sampling"))?;
    Ok(sampling)
}

pub(in crate::service) fn score(given: proto::ScoreRequest, limits: &Limits) -> Result<Score, EngineError> {
    Ok(Score {
        user: UserId::parse(given.user_id)?,
        prompt: limits.prompt("prompt", given.prompt)?,
        responses: limits.responses("responses", given.responses, 1)?,
        risk_aversion: risk_aversion(given.risk_aversion)?,
        min_revision: revision(given.min_revision)?,
    })
}

pub(in crate::service) fn get_user(given: proto::GetUserRequest) -> Result<(UserId, i64), EngineError> {
    Ok((UserId::parse(given.user_id)?, revision(given.min_revision)?))
}

pub(in crate::service) fn delete_user(given: proto::DeleteUserRequest) -> Result<UserId, EngineError> {
    request_id(&given.request_id)?;
    Ok(UserId::parse(given.user_id)?)
}

pub(in crate::service) fn export_user(given: proto::ExportUserRequest) -> Result<UserId, EngineError> {
    Ok(UserId::parse(given.user_id)?)
}

pub(in crate::service) fn list_users(given: &proto::ListUsersRequest) -> Result<Page<UserId>, EngineError> {
    Page::parse(given.page_size, &given.page_token, |key| UserId::parse(key).ok())
}

pub(in crate::service) fn list_preferences(
    given: proto::ListPreferencesRequest,
) -> Result<(UserId, Page<i64>), EngineError> {
    let page = Page::parse(given.page_size, &given.page_token, |key| key.parse().ok())?;
    Ok((UserId::parse(given.user_id)?, page))
}

pub(in crate::service) fn delete_preference(
    given: proto::DeletePreferenceRequest,
) -> Result<DeletePreference, EngineError> {
    Ok(DeletePreference {
        user: UserId::parse(given.user_id)?,
        preference_id: PreferenceId::parse(&given.preference_id)?,
        request_id: request_id(&given.request_id)?,
    })
}

/// One row of an import; `pool` is the pool of the row before, which a row without one goes to.
pub(in crate::service) fn candidate_row(
    given: proto::ImportCandidatesRequest,
    pool: &mut Option<PoolName>,
    limits: &Limits,
) -> Result<(PoolName, Candidates), EngineError> {
    if !given.pool.is_empty() || pool.is_none() {
        *pool = Some(PoolName::parse(given.pool)?);
    }
    let name = pool.clone().ok_or_else(|| Invalid::new("pool", "nothing", "a name on the first message"))?;
    let candidates = proto::Candidates { prompt: given.prompt, responses: given.responses };
    Ok((name, limits.candidates("", candidates, 1)?))
}

pub(in crate::service) fn list_pools(given: &proto::ListPoolsRequest) -> Result<Page<PoolName>, EngineError> {
    Page::parse(given.page_size, &given.page_token, |key| PoolName::parse(key).ok())
}

pub(in crate::service) fn delete_pool(
    given: proto::DeletePoolRequest,
) -> Result<(PoolName, Option<RequestId>), EngineError> {
    Ok((PoolName::parse(given.pool)?, request_id(&given.request_id)?))
}
