//! Random histories: several clients against replicas, with repeats, kills and erasures. Whatever happens on the way, every
//! person ends where a serial reference says: the answers that count, the revision, and λ as a fit from scratch finds it.
//!
//! `PREF_HISTORIES=500 PREF_HISTORIES_SEED=7 cargo test --test api histories` runs more, from another seed. A history that fails is
//! shrunk, and printed with its seed.

mod history;
mod reference;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use history::histories;
use world::World;

/// Histories in a run of the tests.
const FEW: u32 = 6;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn follow(runtime: &tokio::runtime::Runtime, world: &World) {
    let cases = setting("PREF_HISTORIES").map_or(FEW, |cases| cases as u32);
    let seed = setting("PREF_HISTORIES_SEED").unwrap_or(1);
    println!("{cases} histories from PREF_HISTORIES_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, max_shrink_iters: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&histories(world.replicas()), |history| {
        runtime.block_on(reference::follow(world, &history)).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => println!("{}", world.summary()),
        Err(TestError::Fail(why, history)) => panic!("PREF_HISTORIES_SEED={seed}: {why}\n{history:#?}"),
        Err(error) => panic!("PREF_HISTORIES_SEED={seed}: {error}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

#[test]
fn histories_on_two_replicas_and_postgres_end_as_a_serial_one() {
    let runtime = runtime();
    let test = "histories_on_two_replicas_and_postgres_end_as_a_serial_one";
    let Some(world) = runtime.block_on(World::on_postgres(test)) else { return };
    follow(&runtime, &world);
    let (right, wrong) = world.guesses();
    assert!(right > 0 && wrong > 0, "{right} and {wrong} guesses");
    runtime.block_on(world.stop());
}

#[test]
fn histories_on_one_server_and_sqlite_end_as_a_serial_one() {
    let runtime = runtime();
    let world = runtime.block_on(World::on_sqlite());
    follow(&runtime, &world);
    runtime.block_on(world.stop());
}
