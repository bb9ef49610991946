use anyhow::Context;

use super::Global;
use crate::config::DatabaseSettings;
use crate::store::Store;

/// Bring the database's schema up to date. `pref serve` does the same at its start.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let config = args.database.check(&global.data_dir)?;
    std::fs::create_dir_all(&global.data_dir)
        .with_context(|| format!("cannot make the data directory {}", global.data_dir.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let version = runtime.block_on(Store::migrate(&config)).context("cannot migrate the database")?;
    if args.json {
        println!("{}", serde_json::json!({ "schema_version": version }));
    } else {
        println!("schema version {version}");
    }
    Ok(())
}
