//! VPL: variational preference learning (Poddar et al. 2024). A person is a latent z ~ N(0, I); an encoder reads their
//! answered comparisons and gives q(z) = N(μ, diag σ²), whatever the order of answers; a decoder gives the reward r(h, z).
//! Both are networks, trained together by the evidence lower bound
//!
//! E_q log p(answers | z) − β KL(q ‖ N(0, I)).
//!
//! Questions are those whose answer tells most about z: mutual information over samples of q.
//!
//! To its advantage, beside the paper: the decoder says how a person departs from the classic reward; it may multiply
//! what it reads of a text with what z says, in place of the paper's hidden layer over both, where validation prefers that;
//! and settings and the end of training are chosen by people left out, since a network that has seen somebody's answers
//! knows the person by them.

use candle_core::{DType, Device, Tensor, Var};
use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Answer, Classic, Learned, Model, Pair};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::{Corpus, Projection, decided};
use crate::evaluate::search::{Tuning, search};
use crate::math::factorization::Observation;
use crate::math::logistic::{binary_entropy, sigmoid};
use crate::math::normal;

/// Training steps: so many passes over the judgments, but no fewer and no more than these.
const PASSES: usize = 30;
const STEPS: (usize, usize) = (300, 1500);
/// Steps between two looks at how people are met anew.
const LOOK: usize = 100;
/// Looks without improvement after which to stop.
const PATIENCE: usize = 3;
/// People a step.
const PEOPLE: usize = 64;
/// Answers of a person that the encoder reads, from none to this many.
const CONTEXT: usize = 20;
/// Judgments of a person that the decoder must explain.
const TARGETS: usize = 16;
/// Width of the hidden layers.
const HIDDEN: usize = 64;
/// Numbers read of a text.
const READ: usize = 32;
/// L2 of the other matrices over that of the one which reads texts.
const LATER: f64 = 0.03;
/// Samples of z that predictions are averaged over.
const SAMPLES: usize = 24;

/// Encoder and decoder, out of training.
pub(in crate::evaluate) struct Vpl {
    coordinates: Projection,
    classic: Classic,
    network: Network<DMatrix<f64>>,
    decoder: Decoder,
    /// ε ~ N(0, I), L × [`SAMPLES`].
    noise: DMatrix<f64>,
}

/// The weights, for a number type of matrices. Rows are inputs, columns outputs.
#[derive(Debug, Clone)]
struct Network<M> {
    /// f = z P, what of a text is read.
    projection: M,
    /// e = relu(d E + b), d = f(preferred) − f(other) of one answer.
    answer: M,
    answer_bias: M,
    /// c = relu(mean e · C + log(1 + n) k + b)
    context: M,
    count: M,
    context_bias: M,
    /// μ and log σ²
    mean: M,
    log_variance: M,
    log_variance_bias: M,
    /// r = r₀ + relu(f H + s) o, or r₀ + (f H ∘ s) o, with s = z U + b and r₀ the classic reward.
    text: M,
    latent: M,
    text_bias: M,
    reward: M,
}

/// What is tuned.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    /// L, dimensions of z.
    latent: usize,
    /// β
    divergence: f64,
    /// L2 of the matrix that reads texts.
    ridge: f64,
    rate: f64,
    decoder: Decoder,
}

/// How the decoder joins what it reads of a text and what z says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decoder {
    /// As inputs of one hidden layer.
    Layer,
    /// By multiplying the one with the other.
    Product,
}

impl Vpl {
    /// With the setting that predicts people best from a few answers.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let classic_ridge = Classic::ridge(corpus)?;
        let start =
            Setting { latent: 8, divergence: 1e-4, ridge: 3e-4, rate: 3e-3, decoder: Decoder::Product };
        let times = |x: &mut f64, up: bool| *x *= if up { 3.0 } else { 1.0 / 3.0 };
        let found = search(
            start,
            &[
                &|s: &mut Setting, up| s.decoder = if up { Decoder::Layer } else { Decoder::Product },
                &|s: &mut Setting, up| times(&mut s.ridge, up),
                &|s: &mut Setting, up| times(&mut s.divergence, up),
                &|s: &mut Setting, up| {
                    s.latent = if up { (s.latent * 2).min(32) } else { (s.latent / 2).max(2) };
                },
                &|s: &mut Setting, up| times(&mut s.rate, up),
            ],
            |setting| Self::trial(corpus, setting, classic_ridge),
        )?;
        let Setting { latent, divergence, ridge, rate, decoder } = found.setting;
        let tuning = Tuning {
            trials: found.trials,
            chosen: format!(
                "{latent} dimensions, {decoder:?}, beta {divergence:.2e}, L2 {ridge:.2e}, rate {rate:.2e}, {} steps",
                found.outcome
            ),
            log_likelihood: Some(found.log_likelihood),
        };
        let mut fit = Fitting::new(corpus, &corpus.all, &found.setting, classic_ridge)?;
        for _ in 0..found.outcome {
            fit.step()?;
        }
        Ok((fit.model()?, tuning))
    }

    /// How well people left out of a training are met at its best step, and which that is.
    fn trial(
        corpus: &Corpus<'_>,
        setting: &Setting,
        classic_ridge: f64,
    ) -> Result<(f64, usize), EvaluateError> {
        let mut fits = Vec::with_capacity(corpus.folds.len());
        for (fitted, newcomers) in &corpus.folds {
            fits.push((Fitting::new(corpus, fitted, setting, classic_ridge)?, newcomers));
        }
        let judged = decided(&corpus.all).count();
        let most = (PASSES * judged / (PEOPLE * TARGETS)).clamp(STEPS.0, STEPS.1);
        let mut best = (f64::NEG_INFINITY, most);
        for step in 1..=most {
            for (fit, _) in &mut fits {
                fit.step()?;
            }
            if step % LOOK != 0 {
                continue;
            }
            let mut reached = 0.0;
            for (fit, newcomers) in &fits {
                reached += corpus.few_shot_of_newcomers(&fit.model()?, newcomers)? / fits.len() as f64;
            }
            if reached > best.0 {
                best = (reached, step);
            } else if step >= best.1 + PATIENCE * LOOK {
                break;
            }
        }
        Ok(best)
    }
}

/// A training under way.
struct Fitting {
    people: Vec<Vec<Observation>>,
    coordinates: Projection,
    classic: Classic,
    /// N × r
    texts: Tensor,
    /// r₀, N × 1
    shared: Tensor,
    setting: Setting,
    noise: DMatrix<f64>,
    network: Network<Var>,
    optimizer: Adam,
    rng: ChaCha8Rng,
}

impl Fitting {
    /// Of some of the corpus' judgments.
    fn new(
        corpus: &Corpus<'_>,
        part: &[Observation],
        setting: &Setting,
        classic_ridge: f64,
    ) -> Result<Self, EvaluateError> {
        let mut people: Vec<Vec<Observation>> = vec![Vec::new(); corpus.users()];
        decided(part).for_each(|o| people[o.user].push(*o));
        // One judgment cannot both be read and be explained.
        people.retain(|judged| judged.len() > 1);
        let z = corpus.coordinates().of(corpus.embeddings);
        let identity = DMatrix::identity(z.nrows(), z.nrows());
        let classic = Classic::fit(corpus, part, classic_ridge)?;
        let rewards = classic.encode(corpus.embeddings);
        let mut rng = ChaCha8Rng::seed_from_u64(corpus.seed);
        let noise = DMatrix::from_fn(setting.latent, SAMPLES, |_, _| normal(&mut rng));
        let network = Network::draw(z.nrows(), setting.latent, &mut rng)?;
        Ok(Self {
            people,
            coordinates: Projection::new(corpus.coordinates(), &identity),
            classic,
            texts: Tensor::from_vec(single(&z), (z.ncols(), z.nrows()), &Device::Cpu)?,
            shared: Tensor::from_vec(single(&rewards), (z.ncols(), 1), &Device::Cpu)?,
            setting: setting.clone(),
            noise,
            optimizer: Adam::new(&network, setting)?,
            network,
            rng,
        })
    }

    fn step(&mut self) -> Drawn<()> {
        let batch = Batch::draw(&self.people, &mut self.rng);
        let loss = self.network.loss(&self.texts, &self.shared, &batch, &self.setting, &mut self.rng)?;
        self.optimizer.step(&mut self.network, &loss)
    }

    /// As it is now.
    fn model(&self) -> Drawn<Vpl> {
        Ok(Vpl {
            coordinates: self.coordinates.clone(),
            classic: self.classic.clone(),
            network: self.network.settled()?,
            decoder: self.setting.decoder,
            noise: self.noise.clone(),
        })
    }
}

/// People of one step: answers read, and judgments to be explained.
struct Batch {
    /// (preferred, other) texts of every answer read, and whose it is.
    read: Vec<(usize, usize, usize)>,
    /// Answers read of each person.
    counts: Vec<usize>,
    /// (preferred, other) texts of every target, and whose it is.
    targets: Vec<(usize, usize, usize)>,
}

impl Batch {
    fn draw(people: &[Vec<Observation>], rng: &mut impl Rng) -> Self {
        let mut batch = Self { read: Vec::new(), counts: Vec::new(), targets: Vec::new() };
        for at in 0..PEOPLE.min(people.len()) {
            let judged = &people[rng.random_range(0..people.len())];
            let read = rng.random_range(0..=CONTEXT.min(judged.len() - 1));
            let drawn = (read + TARGETS).min(judged.len());
            for (place, one) in rand::seq::index::sample(rng, judged.len(), drawn).into_iter().enumerate() {
                let o = &judged[one];
                let (liked, other) =
                    if o.preference > 0.5 { (o.first, o.second) } else { (o.second, o.first) };
                let list = if place < read { &mut batch.read } else { &mut batch.targets };
                list.push((liked, other, at));
            }
            batch.counts.push(read);
        }
        batch
    }
}

type Drawn<T> = Result<T, candle_core::Error>;

impl Network<Var> {
    /// Hidden units begin with a spread of about one whatever the length of texts, and σ small: where it begins at 1, the
    /// noise drowns what the encoder says, and the decoder learns not to listen.
    fn draw(inputs: usize, latent: usize, rng: &mut impl Rng) -> Drawn<Self> {
        let mut matrix = |rows: usize, columns: usize, gain: f64| {
            let scale = gain / (rows as f64).sqrt();
            let values: Vec<f32> = (0..rows * columns).map(|_| (scale * normal(rng)) as f32).collect();
            Var::from_tensor(&Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
        };
        Ok(Self {
            projection: matrix(inputs, READ, 1.0)?,
            answer: matrix(READ, HIDDEN, 2.0)?,
            answer_bias: matrix(1, HIDDEN, 0.0)?,
            context: matrix(HIDDEN, HIDDEN, 1.4)?,
            count: matrix(1, HIDDEN, 0.1)?,
            context_bias: matrix(1, HIDDEN, 0.0)?,
            mean: matrix(HIDDEN, latent, 1.0)?,
            log_variance: matrix(HIDDEN, latent, 0.1)?,
            log_variance_bias: Var::from_tensor(&Tensor::full(-4.0_f32, (1, latent), &Device::Cpu)?)?,
            text: matrix(READ, HIDDEN, 2.0)?,
            latent: matrix(latent, HIDDEN, 1.0)?,
            text_bias: matrix(1, HIDDEN, 0.0)?,
            reward: matrix(HIDDEN, 1, 1.0)?,
        })
    }

    /// The one that reads texts first.
    fn all(&self) -> [&Var; 13] {
        [
            &self.projection,
            &self.answer,
            &self.answer_bias,
            &self.context,
            &self.count,
            &self.context_bias,
            &self.mean,
            &self.log_variance,
            &self.log_variance_bias,
            &self.text,
            &self.latent,
            &self.text_bias,
            &self.reward,
        ]
    }

    /// The negative evidence lower bound a target, with one sample of z a person.
    fn loss(
        &self,
        texts: &Tensor,
        classic: &Tensor,
        batch: &Batch,
        setting: &Setting,
        rng: &mut impl Rng,
    ) -> Drawn<Tensor> {
        let people = batch.counts.len();
        let read = texts.matmul(&self.projection)?;
        let (mean, log_variance) = self.infer(&read, batch)?;
        let noise: Vec<f32> = (0..people * setting.latent).map(|_| normal(rng) as f32).collect();
        let noise = Tensor::from_vec(noise, (people, setting.latent), &Device::Cpu)?;
        let z = (&mean + (&log_variance * 0.5)?.exp()? * noise)?;

        let pick = |of: fn(&(usize, usize, usize)) -> usize| indices(batch.targets.iter().map(of));
        let (liked, other, whose) = (pick(|t| t.0)?, pick(|t| t.1)?, pick(|t| t.2)?);
        let shift = z.matmul(&self.latent)?.broadcast_add(&self.text_bias)?.index_select(&whose, 0)?;
        let reward = |which: &Tensor| -> Drawn<Tensor> {
            let text = read.index_select(which, 0)?.matmul(&self.text)?;
            let joined = match setting.decoder {
                Decoder::Layer => (text + &shift)?.relu()?,
                Decoder::Product => (text * &shift)?,
            };
            joined.matmul(&self.reward)? + classic.index_select(which, 0)?
        };
        let logit = (reward(&liked)? - reward(&other)?)?;
        // −log σ(x) = log(1 + e^−|x|) + max(−x, 0)
        let misfit = ((logit.abs()?.neg()?.exp()? + 1.0)?.log()? + logit.neg()?.relu()?)?.mean_all()?;
        let divergence = ((&log_variance.exp()? + mean.sqr()? - &log_variance)? - 1.0)?.sum_all()?;
        misfit + (divergence * (0.5 * setting.divergence / people as f64))?
    }

    /// μ and log σ² of each person of a batch.
    fn infer(&self, texts: &Tensor, batch: &Batch) -> Drawn<(Tensor, Tensor)> {
        let people = batch.counts.len();
        let mut pooled = Tensor::zeros((people, HIDDEN), DType::F32, &Device::Cpu)?;
        if !batch.read.is_empty() {
            let liked = texts.index_select(&indices(batch.read.iter().map(|r| r.0))?, 0)?;
            let other = texts.index_select(&indices(batch.read.iter().map(|r| r.1))?, 0)?;
            let codes = (liked - other)?.matmul(&self.answer)?.broadcast_add(&self.answer_bias)?.relu()?;
            // The mean over a person's answers as a product with 1/n where an answer is theirs.
            let mut share = vec![0.0_f32; people * batch.read.len()];
            for (at, &(_, _, whose)) in batch.read.iter().enumerate() {
                share[whose * batch.read.len() + at] = 1.0 / batch.counts[whose] as f32;
            }
            let share = Tensor::from_vec(share, (people, batch.read.len()), &Device::Cpu)?;
            pooled = share.matmul(&codes)?;
        }
        let counts: Vec<f32> = batch.counts.iter().map(|&n| (n as f32).ln_1p()).collect();
        let counts = Tensor::from_vec(counts, (people, 1), &Device::Cpu)?;
        let context = (pooled.matmul(&self.context)? + counts.matmul(&self.count)?)?
            .broadcast_add(&self.context_bias)?
            .relu()?;
        let log_variance = context.matmul(&self.log_variance)?.broadcast_add(&self.log_variance_bias)?;
        Ok((context.matmul(&self.mean)?, log_variance.clamp(-8.0, 4.0)?))
    }

    /// The weights as they are now, in double precision.
    fn settled(&self) -> Drawn<Network<DMatrix<f64>>> {
        let matrix = |var: &Var| -> Drawn<DMatrix<f64>> {
            let (rows, columns) = var.dims2()?;
            let values: Vec<f32> = var.flatten_all()?.to_vec1()?;
            Ok(DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
        };
        Ok(Network {
            projection: matrix(&self.projection)?,
            answer: matrix(&self.answer)?,
            answer_bias: matrix(&self.answer_bias)?,
            context: matrix(&self.context)?,
            count: matrix(&self.count)?,
            context_bias: matrix(&self.context_bias)?,
            mean: matrix(&self.mean)?,
            log_variance: matrix(&self.log_variance)?,
            log_variance_bias: matrix(&self.log_variance_bias)?,
            text: matrix(&self.text)?,
            latent: matrix(&self.latent)?,
            text_bias: matrix(&self.text_bias)?,
            reward: matrix(&self.reward)?,
        })
    }
}

/// Adam, with an L2 in the gradient of every matrix.
struct Adam {
    moments: Vec<(Tensor, Tensor)>,
    steps: i32,
    rate: f64,
    ridge: f64,
}

impl Adam {
    fn new(network: &Network<Var>, setting: &Setting) -> Drawn<Self> {
        let zero = |var: &&Var| -> Drawn<(Tensor, Tensor)> { Ok((var.zeros_like()?, var.zeros_like()?)) };
        let moments = network.all().iter().map(zero).collect::<Drawn<_>>()?;
        Ok(Self { moments, steps: 0, rate: setting.rate, ridge: setting.ridge })
    }

    fn step(&mut self, network: &mut Network<Var>, loss: &Tensor) -> Drawn<()> {
        let gradients = loss.backward()?;
        self.steps += 1;
        let (b1, b2) = (0.9, 0.99);
        let correction = (1.0_f64 - f64::powi(b2, self.steps)).sqrt() / (1.0 - f64::powi(b1, self.steps));
        for (at, (var, (first, second))) in network.all().into_iter().zip(&mut self.moments).enumerate() {
            let Some(gradient) = gradients.get(var) else { continue };
            let ridge = match (at, var.dim(0)?) {
                (0, _) => self.ridge,
                (_, 1) => 0.0,
                _ => self.ridge * LATER,
            };
            // Detached, or the moments would hold the graph of every step.
            let gradient = (gradient + (var.as_detached_tensor() * ridge)?)?.detach();
            *first = ((&*first * b1)? + (&gradient * (1.0 - b1))?)?;
            *second = ((&*second * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
            let direction = (&*first / (second.sqrt()? + 1e-8)?)?;
            var.set(&(var.as_tensor() - (direction * (self.rate * correction))?)?)?;
        }
        Ok(())
    }
}

impl Network<DMatrix<f64>> {
    /// μ and σ of q(z) after the answers given, each as z(preferred) − z(other).
    fn infer(&self, answers: &[DVector<f64>]) -> (DVector<f64>, DVector<f64>) {
        let relu = |x: f64| x.max(0.0);
        let mut pooled = DVector::zeros(self.context.nrows());
        for difference in answers {
            let code = self.answer.tr_mul(difference) + self.answer_bias.transpose();
            pooled += code.map(relu) / answers.len() as f64;
        }
        let count = (answers.len() as f64).ln_1p();
        let context =
            (self.context.tr_mul(&pooled) + self.count.transpose() * count + self.context_bias.transpose())
                .column(0)
                .map(relu);
        let log_variance = (self.log_variance.tr_mul(&context)
            + self.log_variance_bias.transpose().column(0))
        .map(|l| l.clamp(-8.0, 4.0));
        (self.mean.tr_mul(&context), log_variance.map(|l| (0.5 * l).exp()))
    }
}

impl Model for Vpl {
    /// f of a text, below it what of the decoder's first layer does not depend on the person, and the classic reward.
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        let read = self.network.projection.tr_mul(&self.coordinates.of(embeddings));
        let hidden = self.network.text.tr_mul(&read);
        let rewards = self.classic.encode(embeddings);
        let (k, h) = (read.nrows(), hidden.nrows());
        DMatrix::from_fn(k + h + 1, read.ncols(), |row, text| match row {
            row if row < k => read[(row, text)],
            row if row < k + h => hidden[(row - k, text)],
            _ => rewards[(0, text)],
        })
    }

    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let inputs = self.network.answer.nrows();
        let liked_less_other = |answer: &Answer<'_>| {
            let sign = if answer.preference > 0.5 { 1.0 } else { -1.0 };
            DVector::from_iterator(inputs, answer.pair.difference().take(inputs).map(|d| sign * d))
        };
        let answers: Vec<_> = answers.iter().map(liked_less_other).collect();
        let (mean, deviation) = self.network.infer(&answers);
        let shifts = self
            .noise
            .column_iter()
            .map(|noise| {
                let z = &mean + deviation.component_mul(&noise);
                let shift = self.network.latent.tr_mul(&z) + self.network.text_bias.transpose();
                shift.as_slice().to_vec()
            })
            .collect();
        let reward = self.network.reward.as_slice().to_vec();
        Ok(Box::new(Latent { inputs, shifts, reward, decoder: self.decoder }))
    }

    fn chooses(&self) -> bool {
        true
    }
}

/// Samples of q(z), as what they bring to the decoder: s = z U + b.
struct Latent {
    inputs: usize,
    shifts: Vec<Vec<f64>>,
    reward: Vec<f64>,
    decoder: Decoder,
}

impl Latent {
    /// r(y₁, z) − r(y₂, z) for each sample of z.
    fn logits(&self, pair: Pair<'_>) -> impl Iterator<Item = f64> {
        let last = pair.first.len() - 1;
        let shared = pair.first[last] - pair.second[last];
        let (first, second) = (&pair.first[self.inputs..last], &pair.second[self.inputs..last]);
        self.shifts
            .iter()
            .map(move |shift| shared + self.departure(first, shift) - self.departure(second, shift))
    }

    /// r − r₀
    fn departure(&self, text: &[f64], shift: &[f64]) -> f64 {
        let joined = |(t, s): (&f64, &f64)| match self.decoder {
            Decoder::Layer => (t + s).max(0.0),
            Decoder::Product => t * s,
        };
        text.iter().zip(shift).map(joined).zip(&self.reward).map(|(hidden, o)| hidden * o).sum()
    }

    /// E_q σ(r₁ − r₂) and E_q of its entropy, in bits.
    fn expected(&self, pair: Pair<'_>) -> (f64, f64) {
        let n = self.shifts.len() as f64;
        self.logits(pair)
            .map(sigmoid)
            .fold((0.0, 0.0), |(mean, noise), p| (mean + p / n, noise + binary_entropy(p) / n))
    }
}

impl Learned for Latent {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        let (p, _) = self.expected(pair);
        let p = p.clamp(1e-9, 1.0 - 1e-9);
        (p / (1.0 - p)).ln()
    }

    fn worth(&self, pair: Pair<'_>) -> f64 {
        let (p, noise) = self.expected(pair);
        binary_entropy(p) - noise
    }
}

/// A matrix's columns one after the other.
fn single(matrix: &DMatrix<f64>) -> Vec<f32> {
    matrix.iter().map(|&value| value as f32).collect()
}

fn indices(of: impl Iterator<Item = usize>) -> Drawn<Tensor> {
    let list: Vec<u32> = of.map(|index| index as u32).collect();
    let n = list.len();
    Tensor::from_vec(list, n, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Population, divisive, meet};
    use super::*;

    #[test]
    fn the_posterior_moves_toward_the_evidence_and_narrows() {
        let population = Population::new();
        let corpus = population.corpus();
        for decoder in [Decoder::Layer, Decoder::Product] {
            let setting = Setting { latent: 2, divergence: 3e-3, ridge: 1e-4, rate: 1e-2, decoder };
            let classic_ridge = Classic::ridge(&corpus).unwrap();
            let mut fit = Fitting::new(&corpus, &corpus.all, &setting, classic_ridge).unwrap();
            (0..600).for_each(|_| fit.step().unwrap());
            let model = fit.model().unwrap();
            meets(&model);
        }
    }

    fn meets(model: &Vpl) {
        let texts = divisive(model);
        let pair = Pair::of(&texts, 0, 1);
        let (nobody, before) = meet(model, 0, 0);
        let ((even, after), (odd, _)) = (meet(model, 0, 15), meet(model, 1, 15));
        assert!(even.logit(pair) > nobody.logit(pair) && nobody.logit(pair) > odd.logit(pair));
        assert!(even.logit(pair) > 0.5 && odd.logit(pair) < -0.5, "{} {}", even.logit(pair), odd.logit(pair));
        assert!(even.worth(pair) < nobody.worth(pair), "an answer tells less of somebody who is known");
        assert!(after > before + 0.05, "{before} {after}");
    }
}
