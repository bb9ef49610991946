//! The known-φ study at any number of seeds (see `pref::evaluate::known_phi`):
//!
//! ```sh
//! cargo bench --bench known_phi -- --seeds 30
//! ```

use clap::Parser;
use pref::evaluate::known_phi::KnownPhi;

/// How fast each way of asking and fitting learns a person when the base functions are known exactly
#[derive(Parser)]
struct Args {
    /// Seeds 0…n−1, each with people and comparisons of its own
    #[arg(long, default_value_t = 30)]
    seeds: u64,
    /// What `cargo bench` adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    print!("{}", KnownPhi::run(Args::parse().seeds)?);
    Ok(())
}
