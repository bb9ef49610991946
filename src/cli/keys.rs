use anyhow::{Context, bail};

use super::Global;
use crate::config::DatabaseSettings;
use crate::domain::{ApiKey, Scopes, TenantId};
use crate::store::{ApiKeyRow, Store, UnixMillis};

/// Make, list and revoke the API keys of a server's callers, in its database. The server may be running.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key, and print it: the only time that it is shown.
    Create {
        /// Whose data the key opens.
        #[arg(long, value_name = "NAME", default_value = "default")]
        tenant: TenantId,
        /// What it is good for: some of read (people, pools, jobs, models), feedback (questions and answers), generate
        /// (completions and rankings), train (imports and trainings), admin (erasing people, deleting pools, activating
        /// models), with commas between them.
        #[arg(long, value_name = "SCOPES")]
        scopes: Scopes,
        /// What you call it, to tell it from others.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        label: String,
        /// How long it holds, such as 90d, 12h or 30m; without it, until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<UnixMillis>,
        #[command(flatten)]
        common: Common,
    },
    /// List keys: all but the keys themselves, which nobody has but their holders.
    List {
        /// Only this tenant's.
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantId>,
        #[command(flatten)]
        common: Common,
    },
    /// Take a key back. Servers refuse it within --key-cache-seconds (10 by default).
    Revoke {
        /// Its id, as `list` shows it.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    database: DatabaseSettings,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let common = match &args.what {
        What::Create { common, .. } | What::List { common, .. } | What::Revoke { common, .. } => common,
    };
    let config = common.database.check(&global.data_dir)?;
    super::serve::make_data_dir(&global.data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::connect_beside(&config).await.context("cannot open the database")?;
        let done = manage(&store, args.what).await;
        store.close().await;
        done
    })
}

async fn manage(store: &Store, what: What) -> anyhow::Result<()> {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    match what {
        What::Create { tenant, scopes, label, expires, common } => {
            if label.chars().count() > 200 || label.chars().any(char::is_control) {
                bail!("label: got {} characters; allowed: at most 200, on one line", label.chars().count());
            }
            let key = ApiKey::generate();
            let row = ApiKeyRow {
                key_id: key.id().to_owned(),
                tenant,
                hash: key.digest(),
                scopes,
                label,
                created: now,
                expires: expires.map(|lifetime| now + lifetime),
                revoked: None,
            };
            store.create_api_key(&row).await?;
            if common.json {
                let mut told = json(&row);
                told["key"] = key.expose().into();
                println!("{told}");
            } else {
                // The key alone on standard output, for a script.
                eprintln!("key {} of tenant {} ({scopes}); it is not shown again:", row.key_id, row.tenant);
                println!("{}", key.expose());
            }
        }
        What::List { tenant, common } => {
            let keys = store.list_api_keys(tenant.as_ref()).await?;
            if common.json {
                println!("{}", serde_json::Value::Array(keys.iter().map(json).collect()));
            } else {
                for key in &keys {
                    let ApiKeyRow { key_id, tenant, scopes, label, .. } = key;
                    println!("{key_id}  {:8}  {tenant}  {scopes}  {label}", state(key, now));
                }
            }
        }
        What::Revoke { id, common } => {
            // Whoever pastes the whole key means the same, and it is not to be printed.
            let id = ApiKey::parse(&id).map_or(id, |key| key.id().to_owned());
            if !store.revoke_api_key(&id, now).await? {
                bail!("id: got one that no key has; allowed: an id of `pref keys list`");
            }
            if common.json {
                println!("{}", serde_json::json!({ "id": id, "revoked": true }));
            } else {
                println!("key {id} is revoked");
            }
        }
    }
    Ok(())
}

fn state(key: &ApiKeyRow, now: UnixMillis) -> &'static str {
    match key {
        ApiKeyRow { revoked: Some(_), .. } => "revoked",
        ApiKeyRow { expires: Some(expires), .. } if *expires <= now => "expired",
        _ => "active",
    }
}

fn json(key: &ApiKeyRow) -> serde_json::Value {
    let ApiKeyRow { key_id, tenant, scopes, label, created, expires, revoked, .. } = key;
    serde_json::json!({
        "id": key_id,
        "tenant": tenant.as_str(),
        "scopes": scopes.to_string(),
        "label": label,
        "created_unix_ms": created,
        "expires_unix_ms": expires,
        "revoked_unix_ms": revoked,
    })
}

/// A number and d, h, m or s, in milliseconds.
fn lifetime(given: &str) -> Result<UnixMillis, String> {
    let refused = || format!("got {given:?}; allowed: a number and d, h, m or s, such as 90d");
    let unit = given.chars().next_back().ok_or_else(refused)?;
    let seconds: i64 = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(refused()),
    };
    let amount: i64 = given[..given.len() - 1].parse().map_err(|_| refused())?;
    // A hundred years are enough.
    amount
        .checked_mul(seconds)
        .filter(|s| (1..=100 * 365 * 86_400).contains(s))
        .map(|s| s * 1000)
        .ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        assert_eq!(lifetime("90d"), Ok(90 * 86_400_000));
        assert_eq!(lifetime("1s"), Ok(1000));
        for bad in ["", "d", "90", "0d", "-1d", "1y", "9999999999999999d", "1é"] {
            assert!(lifetime(bad).is_err(), "{bad:?}");
        }
    }
}
