//! `pref quickstart`: synthetic people, a model trained on them, the whole loop shown on one who was not in training,
//! and a server to go on with.

mod demo;
mod world;

use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;

use super::Global;
use crate::config::{Config, ServeSettings};
use crate::domain::TenantId;
use crate::engine::Engine;
use crate::store::Store;
use crate::telemetry;
use world::World;

/// Train on synthetic people, show the whole loop, and serve: no database server, GPU or account needed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What embeds the texts: lexical, minilm, a directory in Hugging Face layout (static embeddings, BERT, Qwen2 or
    /// Llama), a hub id, or several joined by +.
    #[arg(long, default_value = "lexical")]
    backbone: String,
    /// Stop after the demonstration.
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    settings: ServeSettings,
}

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let config = args.settings.check(&global.data_dir)?;
    super::serve::make_data_dir(&global.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(quickstart(args, config, &global.data_dir));
    runtime.shutdown_background();
    result
}

async fn quickstart(args: Args, mut config: Config, data_dir: &Path) -> anyhow::Result<()> {
    config.service.access = super::serve::access(&config).await?;
    // A port or a database that cannot be had should not cost a training first.
    let listener = match args.no_serve {
        true => None,
        false => Some(super::serve::bind(&config).await?),
    };
    let store = Store::connect(&config.store).await.context("cannot open the database")?;
    let engine = Engine::new(store, config.engine.clone());
    let tenant = TenantId::default_tenant();

    let (backbone, folder) = (args.backbone, data_dir.to_owned());
    let options = config.engine.backbone.clone();
    let world = tokio::task::spawn_blocking(move || World::make(&backbone, &options, &folder)).await??;
    engine.install_model(&tenant, &world.model.to_string_lossy()).await?;
    world.import_pool(&engine, &tenant).await?;
    demo::show(&engine, &tenant, &world).await?;

    match listener {
        None => engine.store().close().await,
        Some(listener) => {
            println!("\nServing on {}. Three things to try from another terminal:", listener.local_addr()?);
            for command in next_commands(&listener, &world)? {
                println!("  {command}");
            }
            telemetry::init(&args.settings.log.log, args.settings.log.log_format)?;
            super::serve::serve(listener, engine, &config).await?;
        }
    }
    Ok(())
}

fn next_commands(listener: &TcpListener, world: &World) -> anyhow::Result<[String; 3]> {
    let pref = std::env::current_exe()?;
    let pref = pref.display();
    let address = listener.local_addr()?;
    let server = match address.to_string() == crate::config::DEFAULT_LISTEN {
        true => String::new(),
        false => format!(" --server http://{address}"),
    };
    Ok([
        format!("{pref} ask --user me{server}"),
        format!("{pref} describe --model {}", world.model.display()),
        format!("{pref} evaluate --model {} --data {}", world.model.display(), world.test_file.display()),
    ])
}
