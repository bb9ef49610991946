//! Factors of users and pairs without text: time against held-out loss, growth with the data, memory. JSON lines.
//!
//! ```sh
//! cargo bench --bench factorization -- generate --out DIR      # what benches/peers/factorization.py races on
//! cargo bench --bench factorization -- fit --data DIR          # seconds and held-out loss after every sweep
//! cargo bench --bench factorization -- scaling                 # 0.1, 1 and 10 million judgments
//! cargo bench --bench factorization -- head                    # base functions of 384-dimensional embeddings
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nalgebra::DMatrix;
use pref::math::factorization::{
    Comparisons, Config, Hyperparameters, Observation, Observer, PairFactors, PairJudgment, PairOptions,
    PairProblem, Problem, Progress,
};
use pref::math::logistic::{binary_cross_entropy, sigmoid};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const FACTORS: usize = 8;
/// Standard deviation of the true logits.
const SPREAD: f64 = 2.0;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What `cargo bench` adds of itself
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Write train.txt and held_out.txt, a line "user pair ±1" a judgment
    Generate {
        #[command(flatten)]
        size: Size,
        /// Directory to write to
        #[arg(long)]
        out: PathBuf,
    },
    /// Fit train.txt with 0, 1, 2 … sweeps, each from the beginning
    Fit {
        /// Directory of train.txt and held_out.txt
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        ridge: Ridge,
        /// Most sweeps
        #[arg(long, default_value_t = 6)]
        sweeps: usize,
        /// Only the fit with most sweeps
        #[arg(long)]
        last: bool,
    },
    /// Eight sweeps of 0.1, 1 and 10 million judgments, users growing with them
    Scaling {
        #[command(flatten)]
        ridge: Ridge,
    },
    /// `Problem::fit` on embeddings in 384 dimensions, and how much of it the soft-impute start takes
    Head {
        #[arg(long, default_value_t = 5_000)]
        texts: usize,
        #[command(flatten)]
        size: Size,
        /// Also write the judgments to train.txt, as "generate" does
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Copy)]
struct Size {
    #[arg(long, default_value_t = 50_000)]
    users: usize,
    #[arg(long, default_value_t = 20_000)]
    pairs: usize,
    #[arg(long, default_value_t = 10_000_000)]
    judgments: usize,
}

#[derive(Args, Clone, Copy)]
struct Ridge {
    /// α, on users' factors
    #[arg(long, default_value_t = 2.0)]
    user_ridge: f64,
    /// β, on pairs' factors
    #[arg(long, default_value_t = 5.0)]
    pair_ridge: f64,
}

impl Ridge {
    fn options(self, sweeps: usize) -> PairOptions {
        let Self { user_ridge, pair_ridge } = self;
        PairOptions { factors: FACTORS, user_ridge, pair_ridge, sweeps, tolerance: 0.0, seed: 0 }
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Generate { size, out } => {
            let mut world = World::new(size);
            write(&out.join("train.txt"), &world.judge(size.judgments))?;
            let held_out = world.judge(size.judgments / 20);
            write(&out.join("held_out.txt"), &held_out)?;
            println!("{}", json!({ "held_out_loss_of_the_truth": world.mean_loss(&held_out) }));
        }
        Command::Fit { data, ridge, sweeps, last } => {
            let (train, held_out) = (read(&data.join("train.txt"))?, read(&data.join("held_out.txt"))?);
            for sweeps in if last { sweeps } else { 0 }..=sweeps {
                fit(&train, &held_out, ridge.options(sweeps))?;
            }
        }
        Command::Scaling { ridge } => {
            for judgments in [100_000, 1_000_000, 10_000_000] {
                let mut world = World::new(Size { users: judgments / 200, pairs: 20_000, judgments });
                let (train, held_out) = (world.judge(judgments), world.judge(judgments / 20));
                fit(&train, &held_out, ridge.options(8))?;
            }
        }
        Command::Head { texts, size, out } => head(texts, size, out.as_deref())?,
    }
    Ok(())
}

/// From judgments in memory to factors, in seconds of the clock and of all processors together.
fn fit(train: &[PairJudgment], held_out: &[PairJudgment], options: PairOptions) -> anyhow::Result<()> {
    let end = |side: fn(&PairJudgment) -> u32| {
        train.iter().chain(held_out).map(side).max().map_or(0, |k| k as usize + 1)
    };
    let (users, pairs) = (end(|j| j.user), end(|j| j.pair));
    let (clock, cpu) = (Instant::now(), cpu_seconds()?);
    let problem = PairProblem::new(train, users, pairs)?;
    let prepared = clock.elapsed().as_secs_f64();
    let factors: PairFactors = problem.fit(&options, &mut ())?;
    let (seconds, cpu_seconds) = (clock.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let line = json!({
        "judgments": train.len(), "users": users, "pairs": pairs, "factors": options.factors, "sweeps": factors.report.iterations,
        "prepared_s": prepared, "seconds": seconds, "cpu_seconds": cpu_seconds, "held_out_loss": factors.mean_loss(held_out),
        "objective": factors.report.objective, "gradient_norm": factors.report.gradient_norm,
        "threads": std::thread::available_parallelism()?.get(), "peak_mib": peak_mib()?,
    });
    println!("{line}");
    Ok(())
}

/// Base functions of embeddings, from comparisons in memory to W in canonical form.
fn head(texts: usize, size: Size, out: Option<&Path>) -> anyhow::Result<()> {
    const DIMENSION: usize = 384;
    let Size { users, pairs, judgments } = size;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let embeddings = DMatrix::from_fn(texts, DIMENSION, |_, _| normal(&mut rng) / (DIMENSION as f64).sqrt());
    let phi = &embeddings * DMatrix::from_fn(DIMENSION, FACTORS, |_, _| normal(&mut rng));
    let tastes = DMatrix::from_fn(users, FACTORS, |_, _| 0.5 * normal(&mut rng));
    let mut text = |_| (rng.random_range(0..texts), rng.random_range(0..texts));
    let compared: Vec<(usize, usize)> = (0..pairs).map(&mut text).collect();
    let (mut observations, mut lines) = (Vec::with_capacity(judgments), Vec::with_capacity(judgments));
    for _ in 0..judgments {
        let (user, pair) = (rng.random_range(0..users), rng.random_range(0..pairs));
        let (first, second) = compared[pair];
        let z = tastes.row(user).dot(&(phi.row(first) - phi.row(second)));
        let preference = f32::from(u8::from(rng.random_bool(sigmoid(z))));
        observations.push(Observation { user, first, second, preference: preference.into(), weight: 1.0 });
        lines.push(PairJudgment { user: user as u32, pair: pair as u32, preference, weight: 1.0 });
    }
    if let Some(out) = out {
        write(&out.join("train.txt"), &lines)?;
    }
    let hyperparameters = Hyperparameters {
        base_functions: FACTORS,
        gamma: 0.1,
        alpha: 1.0,
        kappa: 1.0,
        threshold: 0.1,
        tie_weight: 0.5,
        ridge: None,
        mean_scale: 1.0,
        beyond_scale: 1.0,
        spread_scale: 1.0,
    };
    let (clock, cpu) = (Instant::now(), cpu_seconds()?);
    let comparisons =
        Comparisons { embeddings: &embeddings, observations: &observations, users, style: None };
    let problem = Problem::new(&comparisons)?;
    let (prepared, prepared_cpu) = (clock.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let mut begun = Begun { clock, cpu, spent: None };
    let fitted = problem.fit(&hyperparameters, &Config::default(), &mut begun)?;
    let (started, started_cpu) = begun.spent.context("no round")?;
    let line = json!({
        "judgments": judgments, "users": users, "pairs": pairs, "texts": texts, "dimension": DIMENSION, "factors": FACTORS,
        "start": format!("{:?}", fitted.start), "rounds": fitted.report.iterations,
        "prepared_s": prepared, "started_s": started - prepared, "started_cpu_s": started_cpu - prepared_cpu,
        "seconds": clock.elapsed().as_secs_f64(), "cpu_seconds": cpu_seconds()? - cpu, "peak_mib": peak_mib()?,
    });
    println!("{line}");
    Ok(())
}

/// When the first round of the fit was evaluated.
struct Begun {
    clock: Instant,
    cpu: f64,
    spent: Option<(f64, f64)>,
}

impl Observer for Begun {
    fn progress(&mut self, _: Progress) {
        if self.spent.is_none() {
            self.spent = cpu_seconds().ok().map(|cpu| (self.clock.elapsed().as_secs_f64(), cpu - self.cpu));
        }
    }
}

/// People and pairs whose logits have rank 8: u ~ N(0, I), v ~ N(0, s²I) with s²·8 the variance of a logit.
struct World {
    rng: ChaCha8Rng,
    users: Vec<[f64; FACTORS]>,
    pairs: Vec<[f64; FACTORS]>,
}

impl World {
    fn new(size: Size) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let scale = SPREAD / (FACTORS as f64).sqrt();
        let users = (0..size.users).map(|_| std::array::from_fn(|_| normal(&mut rng))).collect();
        let pairs = (0..size.pairs).map(|_| std::array::from_fn(|_| scale * normal(&mut rng))).collect();
        Self { rng, users, pairs }
    }

    /// Judgments of random users about random pairs.
    fn judge(&mut self, count: usize) -> Vec<PairJudgment> {
        let Self { rng, users, pairs } = self;
        let mut judge = |_| {
            let (user, pair) = (rng.random_range(0..users.len()), rng.random_range(0..pairs.len()));
            let z = dot(&users[user], &pairs[pair]);
            let preference = f32::from(u8::from(rng.random_bool(sigmoid(z))));
            PairJudgment { user: user as u32, pair: pair as u32, preference, weight: 1.0 }
        };
        (0..count).map(&mut judge).collect()
    }

    /// What no model can be expected to fall below.
    fn mean_loss(&self, judgments: &[PairJudgment]) -> f64 {
        let loss = |j: &PairJudgment| {
            let z = dot(&self.users[j.user as usize], &self.pairs[j.pair as usize]);
            binary_cross_entropy(z, j.preference.into())
        };
        judgments.iter().map(loss).sum::<f64>() / judgments.len() as f64
    }
}

fn dot(a: &[f64; FACTORS], b: &[f64; FACTORS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// N(0, 1) by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

fn write(path: &Path, judgments: &[PairJudgment]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    for j in judgments {
        writeln!(file, "{} {} {}", j.user, j.pair, if j.preference > 0.5 { 1 } else { -1 })?;
    }
    Ok(file.flush()?)
}

fn read(path: &Path) -> anyhow::Result<Vec<PairJudgment>> {
    let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let (mut judgments, mut line) = (Vec::new(), String::new());
    while file.read_line(&mut line)? > 0 {
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().with_context(|| format!("{}: {line:?}", path.display()));
        let (user, pair, sign) = (next()?.parse()?, next()?.parse()?, next()?.parse::<f32>()?);
        judgments.push(PairJudgment { user, pair, preference: f32::from(u8::from(sign > 0.0)), weight: 1.0 });
        line.clear();
    }
    Ok(judgments)
}

/// Largest resident memory of this process so far, all of it.
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// User and system time of all threads, in hundredths.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |k: usize| fields.get(k).context("/proc/self/stat")?.parse::<f64>().context("ticks");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
