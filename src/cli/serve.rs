use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Global;
use crate::config::{Config, GeneratorPlace, GeneratorSpec, ServeSettings};
use crate::domain::TenantId;
use crate::engine::Engine;
use crate::generate::{Generator, LocalConfig, LocalGenerator, OpenAi, OpenAiConfig};
use crate::model::LanguageModel;
use crate::service::{self, Access, Tokens};
use crate::store::Store;
use crate::telemetry;

/// Serve the gRPC API until interrupted or terminated, then drain.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: ServeSettings,
}

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let config = args.settings.check(&global.data_dir)?;
    telemetry::init(&args.settings.log.log, args.settings.log.log_format)?;
    make_data_dir(&global.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(start(config));
    // Connections that outlived the drain, and blocking work that nobody waits for any more.
    runtime.shutdown_background();
    served
}

async fn start(mut config: Config) -> anyhow::Result<()> {
    config.service.access = access(&config).await?;
    let store = Store::connect(&config.store).await.context("cannot open the database")?;
    if config.guarded && config.tokens.is_none() && store.list_api_keys(None).await?.is_empty() {
        tracing::warn!("no API key exists yet, so that nobody may call; `pref keys create` makes one");
    }
    let engine = Engine::new(store, config.engine.clone());
    let listener = bind(&config).await?;
    // For whoever started it with port 0, or waits for it to come up.
    println!("listening on {}", listener.local_addr()?);
    serve(listener, engine, &config).await
}

/// Whom the settings have answered. The keys of tokens are read now, where they are in a file.
pub(super) async fn access(config: &Config) -> anyhow::Result<Access> {
    if !config.guarded {
        return Ok(Access::Open);
    }
    let tokens = match &config.tokens {
        Some(tokens) => Some(Arc::new(Tokens::open(tokens.clone()).await?)),
        None => None,
    };
    Ok(Access::Credentials { tokens })
}

/// Takes the address that the settings name.
pub(super) async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another server running there?", config.listen))
}

/// Serves until the process is asked to stop; the model is loaded meanwhile.
pub(super) async fn serve(listener: TcpListener, engine: Engine, config: &Config) -> anyhow::Result<()> {
    let scrapes = show_metrics(config, &engine).await?;
    let http = answer_http(config, &engine).await?;
    let loading = load_models(&engine, config);
    let serving = service::serve(listener, stop_signal(), engine.clone(), &config.service);
    let (mut loading, mut serving) = (std::pin::pin!(loading), std::pin::pin!(serving));
    let served = tokio::select! {
        loaded = &mut loading => {
            loaded?;
            serving.await
        }
        served = &mut serving => served,
    };
    // By now calls have had their time to end.
    for task in [scrapes, http].into_iter().flatten() {
        task.abort();
    }
    engine.store().close().await;
    tracing::info!("stopped");
    Ok(served?)
}

/// Answers HTTP calls from now until the server drains, where the settings name an address for it.
async fn answer_http(config: &Config, engine: &Engine) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = config.http_listen else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot answer HTTP on {address}"))?;
    println!("chat completions on http://{}/v1", listener.local_addr()?);
    let (engine, service) = (engine.clone(), config.service.clone());
    Ok(Some(tokio::spawn(async move {
        let stop = engine.draining().clone();
        if let Err(error) = service::serve_http(listener, engine, &service, stop).await {
            tracing::error!(%error, "HTTP calls are not answered any more");
        }
    })))
}

/// Answers scrapes from now until the server drains, where the settings name an address for it.
async fn show_metrics(config: &Config, engine: &Engine) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot show metrics on {address}"))?;
    println!("metrics on http://{}/metrics", listener.local_addr()?);
    let mut registry = Registry::default();
    config.engine.resident.metrics.register(&mut registry);
    config.engine.recent_metrics.register(&mut registry);
    config.service.metrics.register(&mut registry);
    let scrapes = service::serve_metrics(listener, registry, engine.draining().clone());
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = scrapes.await {
            tracing::error!(%error, "metrics are not shown any more");
        }
    })))
}

/// Brings the reward model that serves into memory, and the language models.
async fn load_models(engine: &Engine, config: &Config) -> anyhow::Result<()> {
    tokio::try_join!(load_model(engine, config), load_generators(engine, config)).map(drop)
}

/// Calls that name one are answered GENERATOR_NOT_RESIDENT meanwhile.
async fn load_generators(engine: &Engine, config: &Config) -> anyhow::Result<()> {
    for spec in &config.generators {
        let generator =
            open_generator(spec, config).await.with_context(|| format!("generator {}", spec.name))?;
        engine.install_generator(&spec.name, generator);
    }
    Ok(())
}

async fn open_generator(spec: &GeneratorSpec, config: &Config) -> anyhow::Result<Arc<dyn Generator>> {
    match spec.place.clone() {
        GeneratorPlace::OpenAi(place) => {
            let upstream = OpenAiConfig::parse(&place, &spec.name, spec.key()?)?;
            Ok(Arc::new(OpenAi::new(upstream)?))
        }
        GeneratorPlace::Local(place) => {
            let (options, sequences) = (config.engine.backbone.clone(), config.generator_sequences);
            let work = tokio::task::spawn_blocking(move || -> anyhow::Result<LocalGenerator> {
                let model = LanguageModel::open(&place, &options)?;
                Ok(LocalGenerator::start(
                    Arc::new(model),
                    LocalConfig { sequences, ..LocalConfig::default() },
                )?)
            });
            Ok(Arc::new(work.await??))
        }
    }
}

/// Makes the models resident that serve; calls are answered MODEL_NOT_RESIDENT meanwhile.
async fn load_model(engine: &Engine, config: &Config) -> anyhow::Result<()> {
    if let Some(dir) = &config.model {
        let place = dir.canonicalize().with_context(|| format!("model {}", dir.display()))?;
        engine.install_model(&TenantId::default_tenant(), &place.to_string_lossy()).await?;
    }
    Ok(engine.load_active_models().await?)
}

pub(super) fn make_data_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the data directory {}", dir.display()))
}

/// Ready when the process is asked to stop: SIGINT or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be followed; only SIGKILL stops this server");
            std::future::pending().await
        }
    }
}
