use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use clap::Parser;
use tonic::Request;
use uuid::Uuid;

use super::Global;
use super::client::{Server, ServerArgs, explain, has_reason};
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
    #[command(flatten)]
    server: ServerArgs,
    /// Where the questions come from; without it, the first pool of the server
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// How many questions
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    questions: u32,
    /// The prompt to answer at the end; without it, that of the last question
    #[arg(long, value_name = "PROMPT")]
    prompt: Option<String>,
}

pub(super) fn run(args: Args, _: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(args))
}

async fn ask(args: Args) -> anyhow::Result<()> {
    let channel = args.server.connect().await?;
    let pool = match args.pool {
        Some(pool) => pool,
        None => super::client::first_pool(&channel).await?,
    };
    let mut session =
        Session { client: PersonalizationServiceClient::new(channel.clone()), user: args.user, pool };
    if let Some(prompt) = &args.prompt {
        // Better refused now than after ten answers.
        let answered = session.complete(prompt, stranger()).await;
        answered.with_context(|| format!("--prompt {prompt:?} cannot be answered"))?;
    }

    println!("Which answer do you like better? Type a letter and Enter:");
    println!("a, b, t (both alike), n (neither is any good), s (skip) or q (enough).\n");
    let mut profile = None;
    let mut prompt = None;
    for number in 1..=args.questions {
        let Some(Asked { query, before }) = session.question().await? else {
            println!("There is nothing left to ask: each pair of this pool was asked, or is open still.");
            break;
        };
        println!("─── {number} of {} · worth {:.2} bits ───", args.questions, query.information_gain);
        println!(
            "{}\n\n  A  {}\n\n  B  {}\n",
            query.prompt,
            indented(&query.response_a),
            indented(&query.response_b)
        );
        prompt = Some(query.prompt);
        profile = Some(before);
        let Some(outcome) = read_outcome(&mut std::io::stdin().lock())? else { break };
        profile = Some(session.answer(query.query_id, outcome).await?);
    }
    let profile = match profile {
        Some(profile) => Some(profile),
        None => session.profile().await?,
    };
    match profile {
        Some(profile) => {
            let functions = super::client::base_functions(&channel, &profile.model_version).await?;
            println!(
                "\n{} after {} {}, {:.0} % of the uncertainty left:",
                profile.user_id,
                profile.answers,
                if profile.answers == 1 { "answer" } else { "answers" },
                100.0 * profile.remaining_uncertainty
            );
            print!("{}", styles(&profile.coefficients, &profile.standard_errors, &functions));
        }
        None => println!("\nNothing is known of {}, who counts as the average person.", session.user),
    }

    let prompt = match args.prompt.or(prompt) {
        Some(prompt) => Some(prompt),
        None => session.prompt_of_an_answer().await?,
    };
    let Some(prompt) = prompt else {
        println!("\nTo see a prompt answered, name one of the pool: --prompt PROMPT");
        return Ok(());
    };
    println!("\n{prompt}");
    for (title, user) in [("For you", session.user.clone()), ("For the average person", stranger())] {
        let answer = session.complete(&prompt, user).await?;
        println!("\n  {title}\n    {}", answer.replace('\n', "\n    "));
    }
    Ok(())
}

/// Nobody whom the server knows: answered as the average person, and not stored.
fn stranger() -> String {
    Uuid::new_v4().to_string()
}

struct Session {
    client: PersonalizationServiceClient<Server>,
    user: String,
    pool: String,
}

/// A question, and what was known of the person when it was asked.
struct Asked {
    query: proto::Query,
    before: UserProfile,
}

impl Session {
    /// The next question; nothing where no pair is left.
    async fn question(&mut self) -> anyhow::Result<Option<Asked>> {
        let request = proto::NextQueryRequest {
            user_id: self.user.clone(),
            source: Some(Source::Pool(self.pool.clone())),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let reply = match self.client.next_query(request).await {
            Ok(reply) => reply.into_inner(),
            Err(status) if has_reason(&status, "NO_QUESTION_LEFT") => return Ok(None),
            Err(status) => return Err(explain(status)),
        };
        let query = reply.queries.into_iter().next().context("the server answered without a question")?;
        let before = reply.profile.context("the server answered without a profile")?;
        Ok(Some(Asked { query, before }))
    }

    async fn answer(&mut self, query_id: String, outcome: Outcome) -> anyhow::Result<UserProfile> {
        let request = proto::SubmitPreferenceRequest {
            user_id: self.user.clone(),
            target: Some(Target::QueryId(query_id)),
            outcome: outcome.into(),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let reply = self.client.submit_preference(request).await.map_err(explain)?;
        reply.into_inner().profile.context("the server answered without a profile")
    }

    /// What is known of the person; nothing of one who was never asked.
    async fn profile(&mut self) -> anyhow::Result<Option<UserProfile>> {
        let request = proto::GetUserRequest { user_id: self.user.clone(), ..Default::default() };
        match self.client.get_user(request).await {
            Ok(reply) => Ok(reply.into_inner().profile),
            Err(status) if has_reason(&status, "USER_NOT_FOUND") => Ok(None),
            Err(status) => Err(explain(status)),
        }
    }

    /// A prompt that the person has judged answers to, if it can be answered here.
    async fn prompt_of_an_answer(&mut self) -> anyhow::Result<Option<String>> {
        let request = proto::ListPreferencesRequest { user_id: self.user.clone(), ..Default::default() };
        let answers = match self.client.list_preferences(request).await {
            Ok(reply) => reply.into_inner().preferences,
            Err(status) if has_reason(&status, "USER_NOT_FOUND") => return Ok(None),
            Err(status) => return Err(explain(status)),
        };
        let prompt = answers.into_iter().find_map(|answer| answer.comparison).map(|judged| judged.prompt);
        match prompt {
            Some(prompt) if self.complete(&prompt, stranger()).await.is_ok() => Ok(Some(prompt)),
            _ => Ok(None),
        }
    }

    /// The answer that `user` would pick.
    async fn complete(&mut self, prompt: &str, user: String) -> anyhow::Result<String> {
        let request = Request::new(proto::GenerateRequest {
            user_id: user,
            prompt: prompt.to_owned(),
            strategy: GenerationStrategy::BestOfN.into(),
            ..Default::default()
        });
        let mut events = self.client.generate(request).await.map_err(explain)?.into_inner();
        while let Some(response) = events.message().await.map_err(explain)? {
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
        super::output::stdout().flush()?;
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
