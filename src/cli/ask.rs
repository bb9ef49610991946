use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use clap::Parser;
use tonic::Request;
use tonic::transport::Channel;
use uuid::Uuid;

use super::Global;
use super::in_words::styles;
use crate::service::proto;
use proto::generate_response::Event;
use proto::next_query_request::Source;
use proto::personalization_service_client::PersonalizationServiceClient;
use proto::submit_preference_request::Target;
use proto::{GenerationStrategy, Outcome, UserProfile};

/// Asks you ten questions, then says what it learned and answers a prompt your way
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Who you are to the service
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A running `pref serve` or `pref quickstart`
    #[arg(long, env = "PREF_SERVER", default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
    /// Where the questions come from; without it, the first pool of the server
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// How many questions
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    questions: u32,
    /// The prompt to answer at the end; without it, one of the pool
    #[arg(long, value_name = "PROMPT")]
    prompt: Option<String>,
}

pub(super) fn run(args: Args, _: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(args))
}

async fn ask(args: Args) -> anyhow::Result<()> {
    let channel = super::client::connect(&args.server).await?;
    let pool = match args.pool {
        Some(pool) => pool,
        None => super::client::first_pool(&channel).await?,
    };
    let mut session =
        Session { client: PersonalizationServiceClient::new(channel.clone()), user: args.user, pool };
    println!("Which answer do you like better?  a, b, t (both alike), n (neither), s (skip), q (enough)\n");
    let mut profile = None;
    for number in 1..=args.questions {
        let Some(query) = session.question().await? else {
            println!("There is nothing left to ask.");
            break;
        };
        println!("─── {number} of {} · worth {:.2} bits ───", args.questions, query.information_gain);
        println!(
            "{}\n\n  A  {}\n\n  B  {}\n",
            query.prompt,
            indented(&query.response_a),
            indented(&query.response_b)
        );
        let Some(outcome) = read_outcome(&mut std::io::stdin().lock())? else { break };
        profile = Some(session.answer(query.query_id, outcome).await?);
    }
    let profile = match profile {
        Some(profile) => profile,
        None => session.profile().await?,
    };
    let labels = super::client::labels(&channel, &profile.model_version).await?;
    println!(
        "\n{} after {} answers, {:.0} % of the uncertainty left:",
        profile.user_id,
        profile.answers,
        100.0 * profile.remaining_uncertainty
    );
    print!("{}", styles(&profile.coefficients, &profile.standard_errors, &labels));
    let prompt = match args.prompt {
        Some(prompt) => Some(prompt),
        None => session.question().await?.map(|query| query.prompt),
    };
    if let Some(prompt) = prompt {
        println!("\n{prompt}");
        for (title, strategy) in
            [("For you", GenerationStrategy::BestOfN), ("For anybody", GenerationStrategy::Unguided)]
        {
            println!(
                "\n  {title}\n    {}",
                session.complete(&prompt, strategy).await?.replace('\n', "\n    ")
            );
        }
    }
    Ok(())
}

struct Session {
    client: PersonalizationServiceClient<Channel>,
    user: String,
    pool: String,
}

impl Session {
    /// The next question; nothing where every pair has been seen.
    async fn question(&mut self) -> anyhow::Result<Option<proto::Query>> {
        let request = proto::NextQueryRequest {
            user_id: self.user.clone(),
            source: Some(Source::Pool(self.pool.clone())),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        match self.client.next_query(request).await {
            Ok(reply) => Ok(reply.into_inner().queries.into_iter().next()),
            Err(status) if super::client::reason(&status).as_deref() == Some("NOTHING_TO_ASK") => Ok(None),
            Err(status) => Err(super::client::explain(status)),
        }
    }

    async fn answer(&mut self, query_id: String, outcome: Outcome) -> anyhow::Result<UserProfile> {
        let request = proto::SubmitPreferenceRequest {
            user_id: self.user.clone(),
            target: Some(Target::QueryId(query_id)),
            outcome: outcome.into(),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let reply = self.client.submit_preference(request).await.map_err(super::client::explain)?;
        reply.into_inner().profile.context("the server answered without a profile")
    }

    async fn profile(&mut self) -> anyhow::Result<UserProfile> {
        let request = proto::GetUserRequest { user_id: self.user.clone(), ..Default::default() };
        let reply = self.client.get_user(request).await.map_err(super::client::explain)?;
        reply.into_inner().profile.context("the server answered without a profile")
    }

    async fn complete(&mut self, prompt: &str, strategy: GenerationStrategy) -> anyhow::Result<String> {
        let request = Request::new(proto::GenerateRequest {
            user_id: self.user.clone(),
            prompt: prompt.to_owned(),
            strategy: strategy.into(),
            ..Default::default()
        });
        let mut events = self.client.generate(request).await.map_err(super::client::explain)?.into_inner();
        while let Some(response) = events.message().await.map_err(super::client::explain)? {
            if let Some(Event::Finished(finished)) = response.event {
                return Ok(finished.text);
            }
        }
        bail!("the completion ended before it was finished")
    }
}

/// A key a line; nothing at the end of input or where the person has had enough.
fn read_outcome(input: &mut impl BufRead) -> anyhow::Result<Option<Outcome>> {
    loop {
        print!("> ");
        std::io::stdout().flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            println!();
            return Ok(None);
        }
        match line.trim().to_lowercase().as_str() {
            "a" => return Ok(Some(Outcome::First)),
            "b" => return Ok(Some(Outcome::Second)),
            "t" => return Ok(Some(Outcome::Tie)),
            "n" => return Ok(Some(Outcome::Neither)),
            "s" => return Ok(Some(Outcome::Skip)),
            "q" => return Ok(None),
            other => println!("{other:?} is none of a, b, t, n, s, q"),
        }
    }
}

fn indented(response: &str) -> String {
    if response.is_empty() { "(nothing)".to_owned() } else { response.replace('\n', "\n     ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_outcomes_and_others_are_asked_again() {
        assert_eq!(read_outcome(&mut "x\n B \n".as_bytes()).unwrap(), Some(Outcome::Second));
        assert_eq!(read_outcome(&mut "q\na\n".as_bytes()).unwrap(), None);
        assert_eq!(read_outcome(&mut "".as_bytes()).unwrap(), None);
    }
}
