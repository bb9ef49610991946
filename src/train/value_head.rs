use nalgebra::{DMatrix, DVector, RowDVector};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::watch::Watch;
use super::{Observer, Stage, TrainError};
use crate::generate::{Completion, Completions, Generator, LocalGenerator, Prompt, Request, Sampling};
use crate::math::NormalEquations;
use crate::model::{Extension, LanguageModel, PositionScore, RewardModel, Text, ValueHead, ValueHeadRecord};

/// What the training of a value head may be told.
#[derive(Debug, Clone)]
pub struct ValueHeadConfig {
    /// Completions of each prompt, ≥ 2.
    pub rollouts: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Of everything drawn.
    pub seed: u64,
}

impl Default for ValueHeadConfig {
    fn default() -> Self {
        Self { rollouts: 8, sampling: Sampling { max_tokens: 128, ..Sampling::default() }, seed: 0 }
    }
}

/// Ridges that are tried, relative to the mean square of a coordinate.
const RIDGES: [f64; 7] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0];
/// Intervals of a text's length that R² is told for.
const POSITIONS: usize = 10;
/// Fewest prompts: some to learn from, some to choose the ridge on, some to test on.
const PROMPTS: usize = 10;
/// Resamplings of the test prompts for a standard error.
const RESAMPLES: usize = 500;
/// Prompts whose completions are written at once.
const SIDE_BY_SIDE: usize = 4;

/// Learns a value head (Han et al. 2024, Monte Carlo targets): completions of each prompt are drawn, φ of each finished text
/// less the mean over its prompt's is the target of every hidden state on the way to it, and V is a ridge regression. Of the
/// prompts three fifths are learned from, a fifth chooses the ridge, and a fifth tells R²; the head is then fitted on all.
///
/// Both sides are centred over the completions of a prompt that are still going on at a position. Without that the prompt's
/// own offset, which nothing can change while the answer is written, dominates, and a useless head looks excellent.
///
/// # Errors
/// Fewer than ten prompts or two completions of each, a language model that fails, and a head that does not predict: R² has to be above
/// zero by two standard errors at every position from half of the length on.
pub fn train_value_head(
    model: &RewardModel,
    generator: &LocalGenerator,
    prompts: &[String],
    config: &ValueHeadConfig,
    observer: &mut dyn Observer,
) -> Result<ValueHead, TrainError> {
    if prompts.len() < PROMPTS || config.rollouts < 2 {
        return Err(TrainError::ValueHeadData {
            prompts: prompts.len(),
            rollouts: config.rollouts,
            least: PROMPTS,
        });
    }
    let mut watch = Watch::begin(observer, Stage::ValueHead);
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    let (d, j, fifth) = (generator.model().dimension(), model.base_functions(), prompts.len() / 5);
    let mut learned = NormalEquations::new(d, j);
    let mut validation = NormalEquations::new(d, j);
    let mut tests = Vec::with_capacity(fifth);
    for (at, some) in order.chunks(SIDE_BY_SIDE).enumerate() {
        let begun: Vec<Completions> = some
            .iter()
            .map(|&prompt| rollouts(generator, &prompts[prompt], prompt, config))
            .collect::<Result<_, _>>()?;
        for (within, completions) in begun.into_iter().enumerate() {
            let completions = completions.blocking_all()?;
            let rows = rows_of(model, generator.model(), &prompts[some[within]], &completions)?;
            match at * SIDE_BY_SIDE + within {
                place if place < fifth => tests.push(rows),
                place if place < 2 * fifth => rows.iter().for_each(|rows| validation.add(&rows.x, &rows.y)),
                _ => rows.iter().for_each(|rows| learned.add(&rows.x, &rows.y)),
            }
        }
        watch.reach(((at + 1) * SIDE_BY_SIDE).min(order.len()) as f64 / order.len() as f64)?;
    }

    let mut best: Option<(f64, f64)> = None;
    for ridge in RIDGES {
        let left = validation.residual(&learned.solve(ridge)?);
        if best.is_none_or(|(least, _)| left < least) {
            best = Some((left, ridge));
        }
    }
    let ridge = best.map_or(1.0, |(_, ridge)| ridge);
    let positions = positions(&tests, &learned.solve(ridge)?, config.seed);
    let mut second_half = positions.iter().filter(|position| position.until > 0.5);
    if let Some(weak) = second_half.find(|position| position.r_squared <= 2.0 * position.standard_error) {
        return Err(TrainError::ValueHeadUseless {
            until: weak.until,
            r_squared: weak.r_squared,
            standard_error: weak.standard_error,
        });
    }
    learned.merge(&validation);
    tests.iter().flatten().for_each(|rows| learned.add(&rows.x, &rows.y));
    Ok(ValueHead {
        weights: learned.solve(ridge)?.map(|value| value as f32),
        record: ValueHeadRecord {
            language_model: generator.model().id().to_owned(),
            language_model_hash: generator.model().hash().to_owned(),
            prompts: prompts.len(),
            rollouts: config.rollouts,
            max_tokens: config.sampling.max_tokens,
            ridge,
            positions,
        },
    })
}

fn rollouts(
    generator: &LocalGenerator,
    prompt: &str,
    at: usize,
    config: &ValueHeadConfig,
) -> Result<Completions, TrainError> {
    Ok(generator.generate(Request {
        prompt: Prompt::User(prompt.to_owned()),
        count: config.rollouts,
        sampling: config.sampling.clone(),
        seed: config.seed.wrapping_add(at as u64),
        guidance: None,
    })?)
}

/// Hidden states and targets at one interval of a text's length, centred; a row a token.
struct Rows {
    /// n × d
    x: DMatrix<f64>,
    /// n × J
    y: DMatrix<f64>,
}

/// The hidden states after every token of a prompt's completions, and what their texts turned out to be, by position.
fn rows_of(
    model: &RewardModel,
    language_model: &LanguageModel,
    prompt: &str,
    completions: &[Completion],
) -> Result<Vec<Rows>, TrainError> {
    let texts: Vec<_> = completions.iter().map(|completion| Text::new(prompt, &completion.text)).collect();
    let features = model.features(&texts)?;
    let prompt = Prompt::User(prompt.to_owned()).encode(language_model)?;
    let hidden: Vec<DMatrix<f64>> = completions
        .iter()
        .map(|completion| {
            hidden_states(language_model, &prompt, completion.tokens.as_deref().unwrap_or_default())
        })
        .collect::<Result<_, _>>()?;

    let (d, j) = (language_model.dimension(), model.base_functions());
    let mut by_position: Vec<Vec<(RowDVector<f64>, RowDVector<f64>)>> = vec![Vec::new(); POSITIONS];
    let longest = hidden.iter().map(DMatrix::ncols).max().unwrap_or(0);
    for t in 0..longest {
        let going: Vec<usize> = (0..hidden.len()).filter(|&n| t < hidden[n].ncols()).collect();
        if going.len() < 2 {
            break;
        }
        let x = centred(DMatrix::from_fn(going.len(), d, |row, column| hidden[going[row]][(column, t)]));
        let y = centred(DMatrix::from_fn(going.len(), j, |row, column| features[going[row]][column]));
        // Each row counts where its own text is at.
        for (row, &n) in going.iter().enumerate() {
            let at = (t * POSITIONS / hidden[n].ncols()).min(POSITIONS - 1);
            by_position[at].push((x.row(row).into_owned(), y.row(row).into_owned()));
        }
    }
    let stack = |rows: Vec<(RowDVector<f64>, RowDVector<f64>)>| {
        let (x, y): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        if x.is_empty() {
            return Rows { x: DMatrix::zeros(0, d), y: DMatrix::zeros(0, j) };
        }
        Rows { x: DMatrix::from_rows(&x), y: DMatrix::from_rows(&y) }
    };
    Ok(by_position.into_iter().map(stack).collect())
}

fn centred(mut rows: DMatrix<f64>) -> DMatrix<f64> {
    let mean = rows.row_mean();
    rows.row_iter_mut().for_each(|mut row| row -= &mean);
    rows
}

/// d × tokens: the state after each token of the completion.
fn hidden_states(model: &LanguageModel, prompt: &[u32], tokens: &[u32]) -> Result<DMatrix<f64>, TrainError> {
    let mut sequence = model.sequence()?;
    model.extend(&mut [Extension { sequence: &mut sequence, tokens: prompt, alternatives: false }])?;
    let mut columns = Vec::with_capacity(tokens.len());
    for piece in tokens.chunks(LanguageModel::PIECE) {
        let hidden =
            model.extend(&mut [Extension { sequence: &mut sequence, tokens: piece, alternatives: false }])?;
        for row in 0..hidden.len() {
            columns
                .push(DVector::from_iterator(model.dimension(), hidden.row(row)?.into_iter().map(f64::from)));
        }
    }
    if columns.is_empty() {
        return Ok(DMatrix::zeros(model.dimension(), 0));
    }
    Ok(DMatrix::from_columns(&columns))
}

/// R² of V by position, with its standard error over prompts.
fn positions(prompts: &[Vec<Rows>], v: &DMatrix<f64>, seed: u64) -> Vec<PositionScore> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..POSITIONS)
        .map(|at| {
            let residuals: Vec<(f64, f64)> = prompts
                .iter()
                .map(|rows| {
                    let Rows { x, y } = &rows[at];
                    ((y - x * v.transpose()).norm_squared(), y.norm_squared())
                })
                .collect();
            let r_squared = |chosen: &mut dyn Iterator<Item = usize>| {
                let (left, all) =
                    chosen.fold((0.0, 0.0), |(left, all), n| (left + residuals[n].0, all + residuals[n].1));
                if all > 0.0 { 1.0 - left / all } else { 0.0 }
            };
            let resampled: Vec<f64> = (0..RESAMPLES)
                .map(|_| r_squared(&mut (0..prompts.len()).map(|_| rng.random_range(0..prompts.len()))))
                .collect();
            let mean = resampled.iter().sum::<f64>() / RESAMPLES as f64;
            let variance =
                resampled.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / RESAMPLES as f64;
            PositionScore {
                until: (at + 1) as f64 / POSITIONS as f64,
                r_squared: r_squared(&mut (0..prompts.len())),
                standard_error: variance.sqrt(),
            }
        })
        .collect()
}
