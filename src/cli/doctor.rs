use std::path::Path;

use anyhow::{Context, bail};

use super::Global;
use super::output::in_full;
use crate::config::{Config, ServeSettings};
use crate::domain::TenantId;
use crate::engine::{Engine, Readiness};
use crate::store::{Database, Store, StoreError};

/// Try everything that `pref serve` needs, one thing after another, and say what stands in its way.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: ServeSettings,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was tried, and how it went: in words, good or bad.
type Finding = (&'static str, anyhow::Result<String>);

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(&args.settings, &global.data_dir));
    let failed = findings.iter().filter(|(_, result)| result.is_err()).count();
    if args.json {
        let entry = |(check, result): &Finding| match result {
            Ok(found) => serde_json::json!({ "check": check, "ok": true, "found": found }),
            Err(error) => serde_json::json!({ "check": check, "ok": false, "found": in_full(error) }),
        };
        println!("{}", serde_json::Value::Array(findings.iter().map(entry).collect()));
    } else {
        for (check, result) in &findings {
            match result {
                Ok(found) => println!("ok      {check}: {found}"),
                Err(error) => println!("FAILED  {check}: {}", in_full(error)),
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

/// Checks until one fails that the rest depend on.
async fn examine(settings: &ServeSettings, data_dir: &Path) -> Vec<Finding> {
    let config = match settings.check(data_dir) {
        Ok(config) => config,
        Err(invalid) => return vec![("settings", Err(invalid.into()))],
    };
    let mut findings = vec![
        ("settings", Ok("each can be taken".to_owned())),
        ("data directory", writable(data_dir)),
        ("address", address(&config).await),
    ];
    match Store::connect(&config.store).await {
        Ok(store) => {
            let name = match &config.store.database {
                Database::Postgres(_) => "Postgres answers, schema up to date".to_owned(),
                Database::Sqlite(path) => format!("{} opens, schema up to date", path.display()),
            };
            findings.push(("database", Ok(name)));
            findings.push(("model", model(store.clone(), config).await));
            store.close().await;
        }
        Err(error @ StoreError::InUse { .. }) => {
            let told =
                "a server runs here already, and is in the way of another (`pref health` asks how it is)";
            findings.push(("database", Err(error).context(told)));
        }
        Err(error) => findings.push(("database", Err(error.into()))),
    }
    findings
}

/// Makes the directory where it is not there, and writes a file in it, which goes again.
pub(super) fn writable(directory: &Path) -> anyhow::Result<String> {
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write to the directory {}", directory.display()))?;
    Ok(format!("{} can be written", directory.display()))
}

async fn address(config: &Config) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("{} cannot be listened on; is a server running there?", config.listen))?;
    Ok(format!("{} is free", listener.local_addr()?))
}

/// Loads the model that would serve.
async fn model(store: Store, config: Config) -> anyhow::Result<String> {
    let engine = Engine::new(store, config.engine);
    let tenant = TenantId::default_tenant();
    if let Some(dir) = config.model {
        let model = engine.models().load(&dir.to_string_lossy()).await?;
        return Ok(format!("{} in {} loads", model.version, dir.display()));
    }
    engine.load_active_model(&tenant).await?;
    let readiness = *engine.models().readiness().borrow();
    match readiness {
        Readiness::Serving => Ok(format!("{} is active and loads", engine.models().active(&tenant)?.version)),
        Readiness::Starting | Readiness::NoModel => Ok("none is active yet; train one".to_owned()),
    }
}
