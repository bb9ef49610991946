use super::Global;
use crate::config::ServeSettings;
use crate::store::Database;

/// Check the settings that `pref serve` would use, without starting anything.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: ServeSettings,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let config = args.settings.check(&global.data_dir)?;
    let database = match &config.store.database {
        Database::Postgres(_) => "Postgres".to_owned(),
        Database::Sqlite(path) => format!("SQLite, {}", path.display()),
    };
    let model = config.model.as_ref().map(|dir| dir.display().to_string());
    if args.json {
        let listen = config.listen.to_string();
        println!("{}", serde_json::json!({ "listen": listen, "database": database, "model": model }));
    } else {
        println!("listen    {}", config.listen);
        println!("database  {database}");
        println!("model     {}", model.as_deref().unwrap_or("the active one"));
    }
    Ok(())
}
