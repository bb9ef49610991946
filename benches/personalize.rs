//! What a person's answer and their next question cost: `cargo bench --bench personalize`.
//!
//! One core for refits; a question scans its pool on all cores, beside one read of the same pairs' differences.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nalgebra::{DMatrix, DVector};
use pref::math::questions::{Pool, Request, Seen, choose};
use pref::math::{Acquisition, Evidence, Posterior, Prior};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BASE_FUNCTIONS: usize = 8;
const ANSWERS: usize = 20;
/// 18 182 prompts of 11 responses have 1 000 010 pairs.
const PROMPTS: usize = 18_182;
const RESPONSES: usize = 11;

fn vector(rng: &mut ChaCha8Rng) -> DVector<f64> {
    DVector::from_fn(BASE_FUNCTIONS, |_, _| rng.random_range(-1.0..1.0))
}

fn prior() -> Prior {
    Prior::new(DVector::from_element(BASE_FUNCTIONS, 0.2), DMatrix::identity(BASE_FUNCTIONS, BASE_FUNCTIONS))
        .expect("valid")
}

/// A person's answers to random comparisons.
fn answers(rng: &mut ChaCha8Rng) -> Vec<Evidence> {
    let answer = |_| Evidence {
        delta: vector(rng),
        preference: f64::from(u8::from(rng.random_bool(0.6))),
        weight: 1.0,
    };
    (0..ANSWERS).map(answer).collect()
}

fn refit(criterion: &mut Criterion) {
    let prior = prior();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let people: Vec<Vec<Evidence>> = (0..256).map(|_| answers(&mut rng)).collect();
    let mut group = criterion.benchmark_group("refit of 20 answers, J = 8");
    group.throughput(Throughput::Elements(1));
    let mut next = people.iter().cycle();
    group.bench_function("one person", |bencher| {
        bencher.iter(|| Posterior::fit(black_box(next.next().expect("a cycle")), &prior).expect("valid"));
    });
    group.finish();
}

fn question(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let prompts: Vec<Vec<DVector<f64>>> =
        (0..PROMPTS).map(|_| (0..RESPONSES).map(|_| vector(&mut rng)).collect()).collect();
    let pool = Pool::new(&prompts).expect("valid");
    let posterior = Posterior::fit(&answers(&mut rng), &prior()).expect("valid");
    let seen = Seen::default();
    let pairs = PROMPTS * RESPONSES * (RESPONSES - 1) / 2;
    let differences: Vec<f64> = (0..pairs * BASE_FUNCTIONS).map(|k| k as f64).collect();

    let mut group = criterion.benchmark_group("a question from a million pairs");
    group.sample_size(20).throughput(Throughput::Elements(pairs as u64));
    for acquisition in [Acquisition::InformationGain, Acquisition::DOptimal, Acquisition::Uncertainty] {
        let request = Request { acquisition, count: 1, seen: &seen, open: &[] };
        group.bench_function(format!("{acquisition:?}"), |bencher| {
            bencher.iter(|| choose(&pool, &posterior, black_box(&request), &mut rng).expect("valid"));
        });
    }
    group.bench_function("one read of the pairs' differences, one core", |bencher| {
        bencher.iter(|| read(black_box(&differences)));
    });
    group.finish();
}

/// A sum in eight lanes: as fast as memory gives.
fn read(values: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for chunk in values.chunks_exact(8) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum()
}

criterion_group!(benches, refit, question);
criterion_main!(benches);
