use serde_json::{Value, json};

use super::Global;
use super::client::{ServerArgs, explain};
use crate::service::proto;
use proto::export_user_response::Item;
use proto::personalization_service_client::PersonalizationServiceClient;
use proto::{GivenChoice, Outcome, Preference, PreferenceRow, Query, UserProfile};

/// Take out of a running server what it holds
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print all that is held of a person, a JSON object a line
    ///
    /// "kind" is profile, preference, question, completion or imported. Judgments have the fields of `pref import preferences`.
    User {
        /// The person
        #[arg(value_name = "ID")]
        user_id: String,
        /// Only judgments that `pref import preferences` takes: neither taken back, nor NEITHER or SKIP
        #[arg(long)]
        judgments: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let What::User { user_id, judgments, server } = args.what;
    runtime.block_on(user(user_id, judgments, &server))
}

async fn user(user_id: String, judgments: bool, server: &ServerArgs) -> anyhow::Result<()> {
    let mut client = PersonalizationServiceClient::new(server.connect().await?);
    let request = proto::ExportUserRequest { user_id: user_id.clone() };
    let mut items = client.export_user(request).await.map_err(explain)?.into_inner();
    while let Some(response) = items.message().await.map_err(explain)? {
        let Some(line) = response.item.map(|item| line(&user_id, item)) else { continue };
        let importable = !line["preference"].is_null() && line["delete_time"].is_null();
        if importable || !judgments {
            println!("{line}");
        }
    }
    Ok(())
}

fn line(user_id: &str, item: Item) -> Value {
    match item {
        Item::Profile(UserProfile {
            user_id,
            coefficients,
            standard_errors,
            answers,
            revision,
            model_version,
            remaining_uncertainty,
            converged,
        }) => json!({
            "kind": "profile", "user_id": user_id, "coefficients": coefficients,
            "standard_errors": standard_errors, "answers": answers, "revision": revision,
            "model_version": model_version, "remaining_uncertainty": remaining_uncertainty, "converged": converged,
        }),
        Item::Preference(logged) => preference(user_id, logged),
        Item::Query(Query {
            query_id,
            prompt,
            response_a,
            response_b,
            information_gain,
            predicted_preference,
            model_version,
            expire_time,
        }) => json!({
            "kind": "question", "user_id": user_id, "query_id": query_id, "prompt": prompt,
            "response_a": response_a, "response_b": response_b, "information_gain": information_gain,
            "predicted_preference": predicted_preference, "model_version": model_version,
            "expire_time": time(expire_time),
        }),
        Item::Choice(GivenChoice {
            completion_id,
            index,
            prompt,
            text,
            model_version,
            create_time,
            expire_time,
        }) => json!({
            "kind": "completion", "user_id": user_id, "completion_id": completion_id, "index": index,
            "prompt": prompt, "text": text, "model_version": model_version, "create_time": time(create_time),
            "expire_time": time(expire_time),
        }),
        Item::Imported(imported) => {
            let PreferenceRow { user_id, prompt, response_a, response_b, preference, group } =
                imported.row.unwrap_or_default();
            json!({
                "kind": "imported", "dataset": imported.dataset_id, "user_id": user_id, "prompt": prompt,
                "response_a": response_a, "response_b": response_b, "preference": preference, "group": group,
            })
        }
    }
}

fn preference(user_id: &str, logged: Preference) -> Value {
    let outcome = logged.outcome();
    let preference = match outcome {
        Outcome::First => Some(1.0),
        Outcome::Second => Some(0.0),
        Outcome::Tie => Some(0.5),
        Outcome::Neither | Outcome::Skip | Outcome::Unspecified => None,
    };
    let outcome = outcome.as_str_name().trim_start_matches("OUTCOME_");
    let comparison = logged.comparison.unwrap_or_default();
    json!({
        "kind": "preference", "user_id": user_id, "prompt": comparison.prompt,
        "response_a": comparison.response_a, "response_b": comparison.response_b, "preference": preference,
        "outcome": outcome, "weight": logged.weight, "preference_id": logged.preference_id,
        "query_id": logged.query_id, "revision": logged.revision, "create_time": time(logged.create_time),
        "delete_time": time(logged.delete_time),
    })
}

/// RFC 3339.
fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}
