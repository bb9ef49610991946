use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::*;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// Texts that are judged and scored: few, so that their features are remembered.
const TEXTS: u64 = 64;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Next,
    Submit,
    Score,
    /// A health check: what a call costs that has nothing to do.
    Check,
}

/// How much of each, in the order in which they are called.
#[derive(Debug, Clone)]
pub(super) struct Mix(Vec<Method>);

impl Mix {
    pub(super) fn method(&self, number: u64) -> Method {
        self.0[(number % self.0.len() as u64) as usize]
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let mut methods = Vec::new();
        for part in given.split(',') {
            let (name, share) = part.split_once('=').ok_or("next=1,submit=1,score=1")?;
            let method = match name {
                "next" => Method::Next,
                "submit" => Method::Submit,
                "score" => Method::Score,
                "check" => Method::Check,
                _ => return Err(format!("{name}: next, submit, score or check")),
            };
            let share: usize = share.parse().map_err(|error| format!("{share}: {error}"))?;
            methods.extend(std::iter::repeat_n(method, share));
        }
        if methods.is_empty() { Err("nothing to call".to_owned()) } else { Ok(Self(methods)) }
    }
}

/// Makes calls for people in turn. A person who was asked answers that question; nobody else judges texts of their own.
pub(super) struct Caller {
    channels: Vec<Channel>,
    users: u64,
    pool: String,
    /// Names of this run alone.
    run: u32,
    /// Questions to be answered.
    asked: Mutex<Vec<(String, String)>>,
    /// J of the model, as the last question told.
    base_functions: AtomicUsize,
}

impl Caller {
    pub(super) fn new(server: &str, connections: usize, users: u64, pool: &str) -> Self {
        let endpoint = Endpoint::from_shared(server.to_owned()).expect("a URL").tcp_nodelay(true);
        Self {
            channels: (0..connections).map(|_| endpoint.connect_lazy()).collect(),
            users,
            pool: pool.to_owned(),
            run: std::process::id(),
            asked: Mutex::default(),
            base_functions: AtomicUsize::new(0),
        }
    }

    /// J
    pub(super) fn base_functions(&self) -> usize {
        self.base_functions.load(Ordering::Relaxed)
    }

    pub(super) async fn call(&self, method: Method, number: u64) -> Result<(), String> {
        let channel = self.channels[(number % self.channels.len() as u64) as usize].clone();
        let mut client = PersonalizationServiceClient::new(channel.clone());
        let user_id = format!("load {} {}", self.run, number % self.users);
        let request_id = uuid::Uuid::new_v4().to_string();
        let told = match method {
            Method::Next => {
                let source = Some(next_query_request::Source::Pool(self.pool.clone()));
                let request =
                    NextQueryRequest { user_id: user_id.clone(), source, request_id, ..Default::default() };
                client.next_query(request).await.map(|reply| {
                    let mut reply = reply.into_inner();
                    let known = reply.profile.map_or(0, |profile| profile.coefficients.len());
                    self.base_functions.store(known, Ordering::Relaxed);
                    let query_id = reply.queries.swap_remove(0).query_id;
                    self.asked.lock().expect("nobody panics").push((user_id, query_id));
                })
            }
            Method::Submit => {
                let request = self.submission(user_id, number);
                client.submit_preference(SubmitPreferenceRequest { request_id, ..request }).await.map(drop)
            }
            Method::Score => {
                let responses = (0..4).map(|index| response(number + index)).collect();
                let request =
                    ScoreRequest { user_id, prompt: PROMPT.to_owned(), responses, ..Default::default() };
                client.score(request).await.map(drop)
            }
            Method::Check => HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop),
        };
        told.map_err(|status| why(&status))
    }

    fn submission(&self, user_id: String, number: u64) -> SubmitPreferenceRequest {
        let outcome = if number.is_multiple_of(3) { Outcome::Second } else { Outcome::First }.into();
        let asked = self.asked.lock().expect("nobody panics").pop();
        let (user_id, target) = match asked {
            Some((user_id, query_id)) => (user_id, submit_preference_request::Target::QueryId(query_id)),
            None => {
                let prompt = PROMPT.to_owned();
                let (response_a, response_b) = (response(number), response(number + 1));
                let comparison = Comparison { prompt, response_a, response_b };
                (user_id, submit_preference_request::Target::Comparison(comparison))
            }
        };
        SubmitPreferenceRequest { user_id, target: Some(target), outcome, ..Default::default() }
    }
}

const PROMPT: &str = "How do I keep a sourdough starter alive while I am away for two weeks?";

fn response(number: u64) -> String {
    let number = number % TEXTS;
    format!(
        "Answer {number}. {}",
        "Feed it, let it rise for a while, and put it into the fridge. ".repeat(1 + number as usize % 6)
    )
}

fn why(status: &Status) -> String {
    match status.get_error_details().error_info() {
        Some(info) => info.reason.clone(),
        None => format!("{:?} {}", status.code(), status.message()),
    }
}
