//! The serial reference: what follows from the replies, and what the servers must say of everybody after each round.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use pref::domain::Outcome as Said;
use pref::engine::ServingModel;
use pref::math::{Evidence, Posterior};
use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::training_service_client::TrainingServiceClient;
use pref::service::proto::*;
use tonic::Status;
use tonic_types::StatusExt;

use super::history::{Act, History, PEOPLE, Step};
use super::world::World;
use crate::app::{answer, from_pool, judge, request_id};

/// Pairs of the pool `topics`.
const POOL_PAIRS: usize = 24;
/// Calls of a round at most, the doubled ones counted twice.
const ROUND: usize = 8;
/// |λ − λ'| relative to 1 + |λ|.
const TOLERANCE: f64 = 1e-9;

/// What one client asks for; it is the same message at every attempt and repeat.
#[derive(Debug, Clone)]
enum Call {
    Submit(SubmitPreferenceRequest),
    Ask(NextQueryRequest),
    Undo(DeletePreferenceRequest),
    Erase(DeleteUserRequest),
    Activate(ActivateModelRequest),
    Kill,
}

#[derive(Debug, Clone, PartialEq)]
enum Reply {
    Submitted(SubmitPreferenceResponse),
    Asked(NextQueryResponse),
    Done,
}

#[derive(Debug, Default)]
struct Person {
    name: String,
    exists: bool,
    /// How often they were erased.
    epoch: usize,
    lines: Vec<Line>,
    undos: usize,
    questions: Vec<Query>,
}

#[derive(Debug)]
struct Line {
    id: String,
    request: SubmitPreferenceRequest,
    comparison: Comparison,
    live: bool,
}

struct Reference {
    people: Vec<Person>,
    /// Calls that may be made again, with the epoch of their person and their first reply.
    made: Vec<(usize, Call, usize, Option<Reply>)>,
}

/// Has the history happen, and checks everybody after each round.
pub(super) async fn follow(world: &World, history: &History) -> Result<(), String> {
    let people = (0..PEOPLE).map(|_| Person { name: world.somebody(), ..Person::default() }).collect();
    let mut reference = Reference { people, made: Vec::new() };
    for (index, round) in history.iter().enumerate() {
        let within = |why: String| format!("round {index}: {why}");
        reference.round(world, round).await.map_err(within)?;
        for person in &reference.people {
            person.check(world).await.map_err(|why| format!("round {index}: {}: {why}", person.name))?;
        }
    }
    Ok(())
}

impl Reference {
    async fn round(&mut self, world: &World, round: &[Step]) -> Result<(), String> {
        let erased: HashSet<usize> = round
            .iter()
            .filter_map(|step| if let Act::Erase { person } = step.act { Some(person) } else { None })
            .collect();
        let mut calls: Vec<(usize, Option<usize>, Call)> = Vec::new();
        for step in round {
            let Some((person, made)) = self.prepare(&step.act) else { continue };
            // Who answers while they are being erased may come before or after: that is left out.
            let alone = person.is_some_and(|person| erased.contains(&person));
            let again = calls.iter().any(|(_, other, _)| person.is_some() && *other == person);
            if alone && (again || !matches!(made, Call::Erase(_))) {
                continue;
            }
            if matches!(step.act, Act::Twice { .. }) {
                calls.push((step.replica + 1, person, made.clone()));
            }
            calls.push((step.replica, person, made));
        }
        let made = calls.iter().map(|(replica, _, call)| send(world, *replica, call));
        let replies = join_all(made).await;
        let before: Vec<HashSet<_>> = self.people.iter().map(Person::seen).collect();
        // A refusal is of what another call of the round may have done.
        let replies = calls.into_iter().zip(replies);
        let (done, refused): (Vec<_>, Vec<_>) = replies.partition(|(_, reply)| reply.is_ok());
        for ((_, person, call), reply) in done.into_iter().chain(refused) {
            match person {
                Some(person) => self.apply(person, call, reply, &before[person])?,
                None => drop(reply.map_err(|status| format!("{call:?}: {status:?}"))?),
            }
        }
        Ok(())
    }

    /// The call that an act comes to now; nothing where there is nothing to act on.
    fn prepare(&self, act: &Act) -> Option<(Option<usize>, Call)> {
        let named = |person: &usize| self.people[*person].name.clone();
        Some(match act {
            Act::Judge { person, pair, said, heavy } => {
                (Some(*person), Call::Submit(judgment(&named(person), *pair, *said, *heavy)))
            }
            Act::Twice { person, pair, said } => {
                (Some(*person), Call::Submit(judgment(&named(person), *pair, *said, false)))
            }
            Act::Ask { person } => {
                let request =
                    NextQueryRequest { request_id: request_id(), ..from_pool(&named(person), "topics") };
                (Some(*person), Call::Ask(request))
            }
            Act::Answer { person, which, said } => {
                let question = pick(&self.people[*person].questions, *which)?;
                let request = answer(&named(person), &question.query_id, outcome(*said));
                (Some(*person), Call::Submit(SubmitPreferenceRequest { request_id: request_id(), ..request }))
            }
            Act::Undo { person, which } => {
                let preference_id = pick(&self.people[*person].lines, *which)?.id.clone();
                let request = DeletePreferenceRequest {
                    user_id: named(person),
                    preference_id,
                    request_id: request_id(),
                };
                (Some(*person), Call::Undo(request))
            }
            Act::Repeat { which } => {
                let (person, call, ..) = pick(&self.made, *which)?;
                (Some(*person), call.clone())
            }
            Act::Erase { person } => {
                let request = DeleteUserRequest { user_id: named(person), request_id: request_id() };
                (Some(*person), Call::Erase(request))
            }
            Act::Activate { second } => {
                let version = if *second { "test-2" } else { "test-1" }.to_owned();
                (None, Call::Activate(ActivateModelRequest { version, request_id: request_id() }))
            }
            Act::Kill => (None, Call::Kill),
        })
    }

    /// What follows from a reply, if it may be one.
    fn apply(
        &mut self,
        index: usize,
        call: Call,
        reply: Result<Reply, Status>,
        seen: &HashSet<(String, [String; 2])>,
    ) -> Result<(), String> {
        let person = &mut self.people[index];
        let known = self.made.iter_mut().find(|(.., made, _, _)| made.request_id() == call.request_id());
        let first = known.as_ref().and_then(|(.., epoch, first)| Some((*epoch, first.clone()?)));
        let stale = known.as_ref().is_some_and(|(.., epoch, _)| *epoch != person.epoch);
        let told = || format!("{call:?}: {reply:?}");
        match (&call, &reply) {
            (Call::Submit(request), Ok(Reply::Submitted(submitted))) => {
                let question = person.question(request);
                if stale || (person.epoch > 0 && question.is_none()) {
                    return Err(format!("what was erased came back: {}", told()));
                }
                if let Some((_, first)) = first
                    && first != Reply::Submitted(submitted.clone())
                {
                    return Err(format!("a repeat had another reply than {first:?}: {}", told()));
                }
                if !person.lines.iter().any(|line| line.id == submitted.preference_id) {
                    let comparison = match &request.target {
                        Some(submit_preference_request::Target::Comparison(own)) => own.clone(),
                        _ => question.map(as_comparison).ok_or_else(told)?,
                    };
                    let id = submitted.preference_id.clone();
                    person.lines.push(Line { id, request: request.clone(), comparison, live: true });
                    person.exists = true;
                }
            }
            (Call::Submit(request), Err(status)) => {
                let question = person.question(request);
                let is_allowed = match reason(status).as_str() {
                    "USER_ERASED" => person.epoch > 0 && (stale || question.is_none()),
                    "QUERY_ALREADY_ANSWERED" => person.lines.iter().any(|line| {
                        line.request.target == request.target && line.request.outcome != request.outcome
                    }),
                    _ => false,
                };
                if !is_allowed {
                    return Err(told());
                }
            }
            (Call::Ask(_), Ok(Reply::Asked(asked))) => {
                let is_repeat = first.as_ref().is_some_and(|(epoch, _)| *epoch == person.epoch);
                let query = &asked.queries[0];
                match first {
                    Some((_, first)) if is_repeat && first != Reply::Asked(asked.clone()) => {
                        return Err(format!("a repeat had another reply than {first:?}: {}", told()));
                    }
                    _ if !is_repeat && seen.contains(&pair(&as_comparison(query))) => {
                        return Err(format!("a pair was asked again: {}", told()));
                    }
                    _ => {}
                }
                if !person.questions.iter().any(|known| known.query_id == query.query_id) {
                    person.questions.push(query.clone());
                }
                person.exists = true;
                if let Some((.., epoch, first)) = known {
                    (*epoch, *first) = (person.epoch, Some(Reply::Asked(asked.clone())));
                    return Ok(());
                }
            }
            (Call::Ask(_), Err(status)) => {
                if reason(status) != "NO_QUESTION_LEFT" || seen.len() + ROUND < POOL_PAIRS {
                    return Err(told());
                }
            }
            (Call::Undo(request), Ok(_)) => {
                let line = person.lines.iter_mut().find(|line| line.id == request.preference_id);
                let line = line.ok_or_else(told)?;
                person.undos += usize::from(line.live);
                line.live = false;
            }
            (Call::Undo(_), Err(status)) => {
                if !stale || !["USER_NOT_FOUND", "PREFERENCE_NOT_FOUND"].contains(&reason(status).as_str()) {
                    return Err(told());
                }
            }
            (Call::Erase(_), Ok(_)) => {
                let name = std::mem::take(&mut person.name);
                *person = Person { name, epoch: person.epoch + 1, ..Person::default() };
                return Ok(());
            }
            (Call::Erase(_), Err(status)) => {
                if person.exists || person.epoch > 0 || reason(status) != "USER_NOT_FOUND" {
                    return Err(told());
                }
                return Ok(());
            }
            _ => return Err(told()),
        }
        if known.is_none() {
            self.made.push((index, call, self.people[index].epoch, reply.ok()));
        }
        Ok(())
    }
}

impl Person {
    fn question(&self, request: &SubmitPreferenceRequest) -> Option<&Query> {
        let Some(submit_preference_request::Target::QueryId(id)) = &request.target else { return None };
        self.questions.iter().find(|question| question.query_id == *id)
    }

    /// Pairs that were answered or are open.
    fn seen(&self) -> HashSet<(String, [String; 2])> {
        let answered = |id: &str| {
            self.lines.iter().any(|line| {
                let target = submit_preference_request::Target::QueryId(id.to_owned());
                line.live && line.request.target == Some(target)
            })
        };
        let lines = self.lines.iter().filter(|line| line.live).map(|line| pair(&line.comparison));
        let open = self.questions.iter().filter(|question| !answered(&question.query_id));
        lines.chain(open.map(|question| pair(&as_comparison(question)))).collect()
    }

    /// Every server knows the person as the reference does, at once.
    async fn check(&self, world: &World) -> Result<(), String> {
        let revision = (self.lines.len() + self.undos) as u64;
        for replica in 0..world.replicas() {
            let request = GetUserRequest { user_id: self.name.clone(), min_revision: revision };
            let profile = world
                .call(replica, async |channel| {
                    Ok(PersonalizationServiceClient::new(channel)
                        .get_user(request.clone())
                        .await?
                        .into_inner())
                })
                .await;
            if !self.exists {
                match profile {
                    Err(status) if reason(&status) == "USER_NOT_FOUND" => continue,
                    other => return Err(format!("there is nobody: {other:?}")),
                }
            }
            let profile = profile.map_err(|status| format!("{status:?}"))?.profile.ok_or("no profile")?;
            if profile.revision != revision {
                return Err(format!("revision {} and not {revision}", profile.revision));
            }
            let model = world.models.iter().find(|model| model.version.as_str() == profile.model_version);
            let (answers, coefficients) = self.fit(model.ok_or("an unknown model")?).await;
            if profile.answers != answers as u64 {
                return Err(format!("{} answers and not {answers}", profile.answers));
            }
            for (told, fitted) in profile.coefficients.iter().zip(&coefficients) {
                if (told - fitted).abs() > TOLERANCE * (1.0 + fitted.abs()) {
                    return Err(format!("λ {:?} and not {coefficients:?}", profile.coefficients));
                }
            }
        }
        if self.exists { self.check_log(world).await } else { Ok(()) }
    }

    async fn check_log(&self, world: &World) -> Result<(), String> {
        let request = ListPreferencesRequest {
            user_id: self.name.clone(),
            page_size: 1000,
            ..ListPreferencesRequest::default()
        };
        let listed = world
            .call(0, async |channel| {
                let mut client = PersonalizationServiceClient::new(channel);
                Ok(client.list_preferences(request.clone()).await?.into_inner().preferences)
            })
            .await
            .map_err(|status| format!("{status:?}"))?;
        let listed: HashMap<String, (i32, Option<Comparison>)> =
            listed.into_iter().map(|line| (line.preference_id, (line.outcome, line.comparison))).collect();
        let expected: HashMap<String, (i32, Option<Comparison>)> = self
            .lines
            .iter()
            .filter(|line| line.live)
            .map(|line| (line.id.clone(), (line.request.outcome, Some(line.comparison.clone()))))
            .collect();
        if listed == expected { Ok(()) } else { Err(format!("{listed:#?} and not {expected:#?}")) }
    }

    /// The live answers with a likelihood term, and λ from them alone.
    async fn fit(&self, model: &ServingModel) -> (usize, Vec<f64>) {
        let mut evidence = Vec::new();
        for line in self.lines.iter().filter(|line| line.live) {
            let (said, tie) = match line.request.outcome() {
                Outcome::First => (Said::First, 1.0),
                Outcome::Second => (Said::Second, 1.0),
                Outcome::Tie => (Said::Tie, model.tie_weight),
                _ => continue,
            };
            let Comparison { prompt, response_a, response_b } = line.comparison.clone();
            let texts = vec![(prompt.clone(), response_a), (prompt, response_b)];
            let phi = model.resident.features(texts).await.expect("the model answers");
            let preference = said.preference().expect("it has a likelihood term");
            let weight = line.request.weight.unwrap_or(1.0);
            evidence.push(Evidence { delta: &phi[0] - &phi[1], preference, weight: weight * tie });
        }
        let posterior = Posterior::fit(&evidence, &model.prior).expect("valid");
        (evidence.len(), posterior.coefficients().as_slice().to_vec())
    }
}

impl Call {
    fn request_id(&self) -> &str {
        match self {
            Self::Submit(request) => &request.request_id,
            Self::Ask(request) => &request.request_id,
            Self::Undo(request) => &request.request_id,
            Self::Erase(request) => &request.request_id,
            Self::Activate(request) => &request.request_id,
            Self::Kill => "",
        }
    }
}

async fn send(world: &World, replica: usize, call: &Call) -> Result<Reply, Status> {
    let people = PersonalizationServiceClient::new;
    match call {
        Call::Submit(request) => {
            let sent = async |channel| people(channel).submit_preference(request.clone()).await;
            Ok(Reply::Submitted(world.call(replica, sent).await?.into_inner()))
        }
        Call::Ask(request) => {
            let sent = async |channel| people(channel).next_query(request.clone()).await;
            Ok(Reply::Asked(world.call(replica, sent).await?.into_inner()))
        }
        Call::Undo(request) => {
            let sent = async |channel| people(channel).delete_preference(request.clone()).await;
            world.call(replica, sent).await.map(|_| Reply::Done)
        }
        Call::Erase(request) => {
            let sent = async |channel| people(channel).delete_user(request.clone()).await;
            world.call(replica, sent).await.map(|_| Reply::Done)
        }
        Call::Activate(request) => {
            let sent =
                async |channel| TrainingServiceClient::new(channel).activate_model(request.clone()).await;
            world.call(replica, sent).await.map(|_| Reply::Done)
        }
        Call::Kill => {
            world.kill(replica % world.replicas()).await;
            Ok(Reply::Done)
        }
    }
}

fn judgment(person: &str, pair: usize, said: usize, heavy: bool) -> SubmitPreferenceRequest {
    let (long, short) = ("word ".repeat(pair + 2), format!("Incontrovertible {pair}."));
    SubmitPreferenceRequest {
        request_id: request_id(),
        weight: heavy.then_some(2.5),
        ..judge(person, ("x", &long, &short), outcome(said))
    }
}

fn outcome(said: usize) -> Outcome {
    [Outcome::First, Outcome::Second, Outcome::Tie, Outcome::Neither, Outcome::Skip][said]
}

fn as_comparison(query: &Query) -> Comparison {
    let Query { prompt, response_a, response_b, .. } = query.clone();
    Comparison { prompt, response_a, response_b }
}

fn pair(comparison: &Comparison) -> (String, [String; 2]) {
    let mut responses = [comparison.response_a.clone(), comparison.response_b.clone()];
    responses.sort();
    (comparison.prompt.clone(), responses)
}

fn pick<T>(all: &[T], which: usize) -> Option<&T> {
    all.get(which % all.len().max(1))
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
