//! Load on a running server: `cargo bench --bench load -- --rate 1000 --mix next=1,submit=1,score=2 --seconds 60`.
//!
//! Open loop: calls begin when they are due, whether or not the ones before have ended, and their time counts from when they were
//! due, so that a server that stalls is charged for everybody who would have come meanwhile (coordinated omission). With
//! `--clients N` it is a closed loop instead, as pgbench is: N callers, each with one call at a time.

mod calls;
mod overhead;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::time::Instant;

use calls::{Caller, Method, Mix};

#[derive(Parser)]
struct Args {
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    server: String,
    /// Its process: processor time a call and memory are told.
    #[arg(long)]
    pid: Option<u32>,
    /// Calls a second, open loop.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Callers of a closed loop, in place of a rate.
    #[arg(long)]
    clients: Option<usize>,
    /// Where it shows metrics: of how long calls take beside the database is told.
    #[arg(long)]
    metrics: Option<String>,
    /// Comparisons of the pool: the median question is told beside one read of their differences in φ.
    #[arg(long)]
    comparisons: Option<usize>,
    /// How much of each: next, submit, score, check.
    #[arg(long, default_value = "next=1,submit=1,score=1")]
    mix: Mix,
    /// How long.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// How long before that nothing is counted.
    #[arg(long, default_value_t = 3.0)]
    warmup: f64,
    /// People, taken in turn.
    #[arg(long, default_value_t = 2000)]
    users: u64,
    /// Pool that questions come from.
    #[arg(long, default_value = "everyday")]
    pool: String,
    /// Connections that calls are spread over.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Measure nothing: serve tonic's own health service here, without a layer of ours, for `check` to be held against.
    #[arg(long, value_name = "ADDRESS")]
    bare: Option<std::net::SocketAddr>,
    /// cargo bench says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Times in microseconds by method, and what went wrong.
#[derive(Default)]
struct Tally {
    times: BTreeMap<Method, Histogram<u64>>,
    errors: BTreeMap<String, u64>,
}

struct Run {
    caller: Caller,
    mix: Mix,
    counted_from: Instant,
    ends: Instant,
    tally: Mutex<Tally>,
    next: AtomicU64,
}

impl Run {
    /// Makes one call, whose time counts from `due`.
    async fn call(&self, due: Instant) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let method = self.mix.method(number);
        let answered = self.caller.call(method, number).await;
        if due < self.counted_from {
            return;
        }
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let mut tally = self.tally.lock().expect("nobody panics");
        match answered {
            Ok(()) => {
                let times = tally.times.entry(method).or_insert_with(|| Histogram::new(3).expect("valid"));
                times.record(micros).expect("it grows");
            }
            Err(why) => *tally.errors.entry(format!("{method:?} {why}")).or_default() += 1,
        }
    }
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    match args.bare {
        Some(address) => runtime.block_on(bare(address)),
        None => runtime.block_on(measure(args)),
    }
}

/// The least that a call can cost on tonic.
async fn bare(address: std::net::SocketAddr) {
    let (_, service) = tonic_health::server::health_reporter();
    tonic::transport::Server::builder().add_service(service).serve(address).await.expect("the port is free");
}

async fn measure(args: Args) {
    let begun = Instant::now();
    let counted_from = begun + Duration::from_secs_f64(args.warmup);
    let run = Arc::new(Run {
        caller: Caller::new(&args.server, args.connections, args.users, &args.pool),
        mix: args.mix.clone(),
        counted_from,
        ends: counted_from + Duration::from_secs_f64(args.seconds),
        tally: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let watched = tokio::spawn(watch(args.pid, counted_from, run.ends));
    let own = args.metrics.clone().map(|url| {
        tokio::spawn(async move {
            tokio::time::sleep_until(counted_from).await;
            overhead::scrape(&url)
        })
    });
    match args.clients {
        Some(clients) => closed(&run, clients).await,
        None => open(&run, args.rate, begun).await,
    }
    report(&run, args.seconds, watched.await.expect("nobody panics"));
    if let (Some(own), Some(url)) = (own, &args.metrics) {
        overhead::report(&own.await.expect("nobody panics"), &overhead::scrape(url));
    }
    if let Some(comparisons) = args.comparisons {
        beside_a_read(&run, comparisons);
    }
}

/// Begins calls when they are due.
async fn open(run: &Arc<Run>, rate: f64, begun: Instant) {
    let mut calls = tokio::task::JoinSet::new();
    for number in 0_u64.. {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        if due >= run.ends {
            break;
        }
        tokio::time::sleep_until(due).await;
        let run = run.clone();
        calls.spawn(async move { run.call(due).await });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// One call after the other, side by side.
async fn closed(run: &Arc<Run>, clients: usize) {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let run = run.clone();
        callers.spawn(async move {
            while Instant::now() < run.ends {
                run.call(Instant::now()).await;
            }
        });
    }
    while callers.join_next().await.is_some() {}
}

/// What the server's process had used when counting began and when it ended, and its memory every minute between.
struct Usage {
    processor: Duration,
    resident_mib: Vec<u64>,
}

async fn watch(pid: Option<u32>, from: Instant, to: Instant) -> Option<Usage> {
    let pid = pid?;
    tokio::time::sleep_until(from).await;
    let before = processor_time(pid);
    let mut resident_mib = vec![resident(pid)];
    while Instant::now() < to {
        tokio::time::sleep_until((Instant::now() + Duration::from_secs(60)).min(to)).await;
        resident_mib.push(resident(pid));
    }
    Some(Usage { processor: processor_time(pid) - before, resident_mib })
}

/// utime and stime of /proc/PID/stat, which count in hundredths of a second.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).expect("the server runs");
    let after_name = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let fields: Vec<u64> =
        after_name.split(' ').skip(11).take(2).map(|f| f.parse().expect("ticks")).collect();
    Duration::from_millis(10 * (fields[0] + fields[1]))
}

/// VmRSS
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

fn report(run: &Run, seconds: f64, usage: Option<Usage>) {
    let tally = run.tally.lock().expect("nobody panics");
    println!(
        "{:8} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9}  (ms)",
        "", "calls", "a second", "p50", "p90", "p99", "p99.9", "max"
    );
    let mut calls = 0;
    for (method, times) in &tally.times {
        calls += times.len();
        let at = |q: f64| times.value_at_quantile(q) as f64 / 1000.0;
        println!(
            "{:8} {:>9} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.2}",
            format!("{method:?}"),
            times.len(),
            times.len() as f64 / seconds,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            times.max() as f64 / 1000.0
        );
    }
    for (error, count) in &tally.errors {
        println!("{error}: {count}");
    }
    if let Some(Usage { processor, resident_mib }) = usage {
        let each = processor.as_secs_f64() * 1e6 / (calls as f64).max(1.0);
        println!("server: {each:.0} µs of processor a call; resident {resident_mib:?} MiB");
    }
}

/// How long one core takes to read the differences of that many comparisons, beside the median question.
fn beside_a_read(run: &Run, comparisons: usize) {
    let differences = vec![1.0_f64; comparisons * run.caller.base_functions()];
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            std::hint::black_box(std::hint::black_box(&differences).iter().sum::<f64>());
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let tally = run.tally.lock().expect("nobody panics");
    let question =
        tally.times.get(&Method::Next).map_or(f64::NAN, |times| times.value_at_quantile(0.5) as f64 / 1000.0);
    println!(
        "{comparisons} comparisons, J = {}: a question {question:.2} ms, one read of {} MiB {:.2} ms: x {:.2}",
        run.caller.base_functions(),
        (differences.len() * 8) >> 20,
        times[4],
        question / times[4]
    );
}
