use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use futures::{Stream, StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::Global;
use super::client::{ServerArgs, explain};
use crate::domain::{DatasetId, Invalid, Judgment, PoolName};
use crate::service::proto;
use crate::train::{CandidateRow, Limits, TrainError, candidate_rows, judgment_rows};
use proto::candidate_service_client::CandidateServiceClient;
use proto::import_preferences_request::Payload;
use proto::training_service_client::TrainingServiceClient;
use proto::{ImportCandidatesRequest, ImportPreferencesRequest};

/// Brings candidates or judgments into a running server
///
/// Files are JSON lines, .gz too. They are read through first, so that nothing is sent where a line cannot be taken.
/// What is there already is left as it is: importing a file again is harmless.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Prompts with candidate responses for questions and completions: {"prompt": …, "responses": […]} a line
    Candidates {
        /// The pool of lines that name none ("pool": …)
        #[arg(long, value_name = "NAME")]
        pool: Option<PoolName>,
        #[command(flatten)]
        common: Common,
    },
    /// Judgments to train on: user_id, prompt, response_a, response_b and preference (1, 0, or .5 for a tie) a line
    Preferences {
        /// The dataset to add to, which Train can name afterwards; made if it is new
        #[arg(long, value_name = "ID")]
        dataset: DatasetId,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// JSON lines, `.gz` too
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// For a script that may run the command again: the server then gives its first reply again
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// Print what was imported as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.what {
        What::Candidates { pool, common } => runtime.block_on(candidates(pool, common)),
        What::Preferences { dataset, common } => runtime.block_on(preferences(dataset, common)),
    }
}

async fn candidates(pool: Option<PoolName>, common: Common) -> anyhow::Result<()> {
    let rows = || candidate_messages(common.files.clone(), pool.clone());
    let import = Import::of(rows(), &common)?;
    let channel = common.server.connect().await?;
    let reply = retried(|| {
        let mut client = CandidateServiceClient::new(channel.clone());
        // The first message carries it.
        let mut request_id = Some(import.request_id.clone());
        let messages = import.messages(rows()).map(move |message| ImportCandidatesRequest {
            request_id: request_id.take().unwrap_or_default(),
            ..message
        });
        async move { client.import_candidates(messages).await }
    });
    let reply = import.finish(reply.await, rows)?;
    if common.json {
        let pool = |pool: &proto::Pool| serde_json::json!({ "name": pool.name, "prompts": pool.prompts, "responses": pool.responses });
        let pools: Vec<_> = reply.pools.iter().map(pool).collect();
        let (rows, responses) = (reply.rows, reply.imported_responses);
        println!("{}", serde_json::json!({ "rows": rows, "imported_responses": responses, "pools": pools }));
    } else {
        println!("{} lines with {} new responses", reply.rows, reply.imported_responses);
        for proto::Pool { name, prompts, responses, .. } in reply.pools {
            println!("pool {name}: {prompts} prompts, {responses} responses");
        }
    }
    Ok(())
}

async fn preferences(dataset: DatasetId, common: Common) -> anyhow::Result<()> {
    let rows = || preference_messages(common.files.clone());
    let import = Import::of(rows(), &common)?;
    let channel = common.server.connect().await?;
    let reply = retried(|| {
        let mut client = TrainingServiceClient::new(channel.clone());
        let header = proto::ImportPreferencesHeader {
            dataset_id: dataset.to_string(),
            request_id: import.request_id.clone(),
        };
        let header = ImportPreferencesRequest { payload: Some(Payload::Header(header)) };
        let messages = stream::iter([header]).chain(import.messages(rows()));
        async move { client.import_preferences(messages).await }
    });
    let proto::ImportPreferencesResponse { imported, duplicates, .. } = import.finish(reply.await, rows)?;
    let skipped = import.skipped;
    if common.json {
        let dataset = dataset.as_str();
        println!(
            "{}",
            serde_json::json!({
                "dataset": dataset, "imported": imported, "duplicates": duplicates, "skipped": skipped
            })
        );
    } else {
        println!("dataset {dataset}: {imported} new judgments, {duplicates} were there already");
        if skipped > 0 {
            println!("{skipped} lines compare a text with itself and were left out");
        }
    }
    Ok(())
}

/// A line of a file as a message; a line that has nothing to tell is none.
struct Row<T> {
    path: PathBuf,
    line: usize,
    message: Option<T>,
}

type Rows<T> = Box<dyn Iterator<Item = Result<Row<T>, TrainError>> + Send>;

fn candidate_messages(files: Vec<PathBuf>, default: Option<PoolName>) -> Rows<ImportCandidatesRequest> {
    Box::new(files.into_iter().flat_map(move |path| {
        let default = default.clone();
        candidate_rows(&path, Limits::default()).map(move |row| {
            let (line, CandidateRow { pool, candidates }) = row?;
            let path = path.clone();
            let Some(pool) = pool.or_else(|| default.clone()) else {
                let source = Invalid::new("pool", "nothing", "a pool on the line, or --pool NAME");
                return Err(TrainError::Line { path, line, source });
            };
            let message = ImportCandidatesRequest {
                pool: pool.to_string(),
                prompt: candidates.prompt,
                responses: candidates.responses,
                request_id: String::new(),
            };
            Ok(Row { path, line, message: Some(message) })
        })
    }))
}

fn preference_messages(files: Vec<PathBuf>) -> Rows<ImportPreferencesRequest> {
    Box::new(files.into_iter().flat_map(|path| {
        judgment_rows(&path, Limits::default()).map(move |row| {
            let (line, judgment) = row?;
            let message = judgment.map(|Judgment { user_id, comparison, preference, group }| {
                let row = proto::PreferenceRow {
                    user_id: user_id.to_string(),
                    prompt: comparison.prompt,
                    response_a: comparison.response_a,
                    response_b: comparison.response_b,
                    preference,
                    group,
                };
                ImportPreferencesRequest { payload: Some(Payload::Row(row)) }
            });
            Ok(Row { path: path.clone(), line, message })
        })
    }))
}

/// Files that were read through and found good, on their way to the server.
struct Import {
    request_id: String,
    /// Lines that have nothing to tell.
    skipped: usize,
    progress: ProgressBar,
    /// What went wrong with a file that had been good before.
    broken: Arc<Mutex<Option<TrainError>>>,
}

impl Import {
    fn of<T>(rows: Rows<T>, common: &Common) -> anyhow::Result<Self> {
        let (mut sent, mut skipped) = (0, 0);
        for row in rows {
            match row?.message {
                Some(_) => sent += 1,
                None => skipped += 1,
            }
        }
        if sent == 0 {
            let files: Vec<_> = common.files.iter().map(|file| file.display().to_string()).collect();
            bail!("{}: no line to import", files.join(", "));
        }
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} lines  {elapsed}");
        let progress = ProgressBar::new(sent);
        progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let request_id = common.request_id.unwrap_or_else(Uuid::new_v4).to_string();
        Ok(Self { request_id, skipped, progress, broken: Arc::default() })
    }

    /// The messages, read from the files as the connection takes them.
    fn messages<T: Send + 'static>(&self, rows: Rows<T>) -> impl Stream<Item = T> + Send + use<T> {
        self.progress.reset();
        let (progress, broken) = (self.progress.clone(), self.broken.clone());
        let messages = rows.map_while(move |row| match row {
            Ok(row) => Some(row.message),
            Err(error) => {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        });
        stream::iter(messages.flatten().inspect(move |_| progress.inc(1)))
    }

    /// The reply, or which line of which file the server refuses.
    fn finish<T, R>(&self, reply: Result<R, Status>, rows: impl FnOnce() -> Rows<T>) -> anyhow::Result<R> {
        self.progress.finish_and_clear();
        if let Some(error) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.into());
        }
        reply.map_err(|status| match refused_row(&status) {
            Some((index, told)) => {
                let mut sent = rows().flatten().filter(|row| row.message.is_some());
                match sent.nth(index) {
                    Some(Row { path, line, .. }) => anyhow!("{}:{line}: {told}", path.display()),
                    None => explain(status),
                }
            }
            None => explain(status),
        })
    }
}

/// Which message the server refuses, from 0, and what it says of it: `rows[2].prompt` is the third one's prompt.
fn refused_row(status: &Status) -> Option<(usize, String)> {
    let details = status.get_details_bad_request()?;
    let violation = details.field_violations.first()?;
    let (index, field) = violation.field.strip_prefix("rows[")?.split_once("].")?;
    Some((index.parse().ok()?, format!("{field}: {}", violation.description)))
}

/// How often an import is sent to a server that is not there at the moment.
const TRIES: u32 = 4;

/// Sends until the server is there to answer, at most [`TRIES`] times; the same request id makes a repeat harmless.
async fn retried<R, F>(send: impl Fn() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let mut tried = 0;
    loop {
        tried += 1;
        match send().await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) if status.code() == Code::Unavailable && tried < TRIES => {
                eprintln!("{}; trying again", status.message());
                tokio::time::sleep(Duration::from_millis(500 << tried)).await;
            }
            Err(status) => return Err(status),
        }
    }
}
