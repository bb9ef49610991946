use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::Tensor;
use nalgebra::DVector;
use rayon::prelude::*;

use super::adamw::{AdamW, Parameter, clip, global_norm};
use super::batches::{self, Judged, Pass};
use super::checkpoint::{Checkpoint, State};
use super::objective::{Objective, root_mean_square};
use super::schedule::Schedule;
use super::{TuneConfig, TuningPoint};
use crate::math::factorization::Factorization;
use crate::model::{Text, TunableBackbone, TunableNetwork};
use crate::train::measure::ValidationScore;
use crate::train::{Dataset, Observer, Row, Stage, TextId, TrainError};

/// Names of W and Λ beside the backbone's variables.
const HEAD: &str = "head";
const COEFFICIENTS: &str = "coefficients";

/// What is learned from, and what says when to stop.
pub(super) struct Judgments {
    train: Vec<Judged>,
    /// Held out, decided.
    validation: Vec<Row>,
}

/// AdamW over batches of pairs, from the start given.
pub(super) struct Descent<'a> {
    data: &'a Dataset,
    backbone: &'a TunableBackbone,
    judgments: &'a Judgments,
    config: &'a TuneConfig,
    seed: u64,
    /// Token ids of every text of the dataset.
    ids: Vec<Vec<u32>>,
    objective: Objective,
    parameters: Vec<Parameter>,
}

/// How a descent ended.
pub(super) struct Ended {
    /// The backbone's variables where validation was best.
    pub(super) best: BTreeMap<String, Tensor>,
    pub(super) best_step: usize,
    pub(super) steps: usize,
    pub(super) resumed_at: usize,
    pub(super) curve: Vec<TuningPoint>,
}

impl Judgments {
    pub(super) fn new(data: &Dataset, train: &[usize], validation: &[usize], tie_weight: f64) -> Self {
        let decided = validation.iter().map(|&row| data.rows()[row]).filter(Row::is_decided).collect();
        Self { train: batches::judged(data, train, tie_weight), validation: decided }
    }
}

impl<'a> Descent<'a> {
    pub(super) fn new(
        data: &'a Dataset,
        backbone: &'a TunableBackbone,
        judgments: &'a Judgments,
        start: &Factorization,
        config: &'a TuneConfig,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let said = judgments.train.iter().flat_map(|pair| &pair.judgments);
        let objective = Objective::new(start, said.map(|said| said.weight).sum(), backbone.device())?;
        let texts: Vec<_> = (0..data.text_count()).map(|text| text_of(data, text)).collect();
        let mut parameters = Vec::new();
        for (name, variable) in backbone.variables() {
            // Norms and biases are not pulled to zero.
            let decay = if variable.rank() > 1 { config.weight_decay } else { 0.0 };
            parameters.push(Parameter {
                name: name.clone(),
                variable: variable.clone(),
                rate: 1.0,
                decay,
                in_backbone: true,
            });
        }
        for (name, variable) in [(HEAD, &objective.head), (COEFFICIENTS, &objective.coefficients)] {
            let rate = root_mean_square(variable.as_tensor())?;
            parameters.push(Parameter {
                name: name.to_owned(),
                variable: variable.clone(),
                rate,
                decay: 0.0,
                in_backbone: false,
            });
        }
        Ok(Self {
            data,
            backbone,
            judgments,
            config,
            seed,
            ids: backbone.encode(&texts)?,
            objective,
            parameters,
        })
    }

    /// Goes from the start, or from where a checkpoint says, to the last step.
    pub(super) fn run(
        &self,
        checkpoint: Option<&Checkpoint>,
        observer: &mut dyn Observer,
    ) -> Result<Ended, TrainError> {
        observer.progress(Stage::Backbone, 0.0);
        let pairs = self.judgments.train.len();
        let per_epoch = pairs.div_ceil(self.config.batch);
        let steps = per_epoch * self.config.epochs;
        let warm_up = (steps as f64 * self.config.warm_up).round() as usize;
        let schedule = Schedule { peak: self.config.learning_rate, warm_up, steps };
        let (mut optimizer, mut at) = self.begin(checkpoint)?;
        let resumed_at = at.step;
        if at.curve.is_empty() {
            let before = self.look(TuningPoint::before(schedule.rate(0)))?;
            observer.tuned(&before);
            at.curve.push(before);
        }

        let (mut order, mut losses) = (Vec::new(), Vec::new());
        while at.step < steps {
            let (epoch, within) = (at.step / per_epoch, at.step % per_epoch);
            if order.is_empty() || within == 0 {
                order = batches::epoch(pairs, self.config.batch, self.seed, epoch);
            }
            let rate = schedule.rate(at.step);
            losses.push(self.advance(&mut optimizer, &order[within], at.step, rate)?);
            at.step += 1;
            if at.step.is_multiple_of(self.config.every) || at.step.is_multiple_of(per_epoch) {
                let point = self.look(TuningPoint {
                    step: at.step,
                    epoch: at.step as f64 / per_epoch as f64,
                    learning_rate: schedule.rate(at.step),
                    loss: losses.iter().sum::<f64>() / losses.len() as f64,
                    ..TuningPoint::before(rate)
                })?;
                losses.clear();
                observer.tuned(&point);
                if point.validation_log_likelihood > at.best_point().validation_log_likelihood {
                    at.best = self.backbone_values()?;
                }
                at.curve.push(point);
                if let Some(checkpoint) = checkpoint {
                    self.keep(checkpoint, &optimizer, &at)?;
                }
            }
            observer.progress(Stage::Backbone, at.step as f64 / steps as f64);
            if observer.is_cancelled() {
                return Err(TrainError::Cancelled);
            }
        }
        Ok(Ended { best_step: at.best_point().step, best: at.best, steps, resumed_at, curve: at.curve })
    }

    /// At the start, or where a checkpoint says.
    fn begin(&self, checkpoint: Option<&Checkpoint>) -> Result<(AdamW, At), TrainError> {
        let state = checkpoint.map(|checkpoint| checkpoint.load(&self.parameters, self.backbone.device()));
        let Some(state) = state.transpose()?.flatten() else {
            let at = At { step: 0, best: self.backbone_values()?, curve: Vec::new() };
            return Ok((AdamW::new(&self.parameters)?, at));
        };
        for parameter in &self.parameters {
            parameter.variable.set(&state.parameters[&parameter.name])?;
        }
        let at = At { step: state.step, best: state.best, curve: state.curve };
        Ok((AdamW::resumed(state.moments, state.step), at))
    }

    /// One step; the loss before it.
    fn advance(
        &self,
        optimizer: &mut AdamW,
        batch: &[usize],
        step: usize,
        rate: f64,
    ) -> Result<f64, TrainError> {
        let (loss, mut gradients) = self.gradients(batch)?;
        let norm = global_norm(&gradients)?;
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step, learning_rate: rate });
        }
        clip(&mut gradients, norm, self.config.clip)?;
        optimizer.step(self.parameters(), &gradients, rate)?;
        Ok(loss)
    }

    fn keep(&self, checkpoint: &Checkpoint, optimizer: &AdamW, at: &At) -> Result<(), TrainError> {
        let values = self.parameters.iter().map(|p| (p.name.clone(), p.variable.as_tensor().clone()));
        checkpoint.save(&State {
            step: at.step,
            parameters: values.collect(),
            moments: optimizer.moments().clone(),
            best: at.best.clone(),
            curve: at.curve.clone(),
        })
    }

    /// The backbone's variables, then W and Λ.
    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The loss of a batch in nats a judgment, and its gradient by every parameter.
    pub(super) fn gradients(&self, batch: &[usize]) -> Result<(f64, Vec<Tensor>), TrainError> {
        let network = self.backbone.network()?;
        let share = batch.len() as f64 / self.judgments.train.len() as f64;
        let pairs = batch.iter().map(|&pair| &self.judgments.train[pair]);
        let (mut loss, prior) = self.objective.prior()?;
        let mut gradients = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            gradients.push(match parameter.name.as_str() {
                COEFFICIENTS => prior.clone(),
                _ => parameter.variable.zeros_like()?,
            });
        }
        let passes = batches::passes(pairs, self.config.tokens, |text| self.ids[text].len());
        let of_pass = |pass: &Pass<'_>| -> Result<_, TrainError> {
            let embeddings = self.embed(&network, &pass.texts)?;
            let (value, slope) = self.objective.likelihood(pass, &embeddings, share)?;
            Ok((value, slope.backward()?))
        };
        // On a CPU as many side by side as there are cores; their sum goes in order.
        let width = if self.backbone.device().is_cpu() { rayon::current_num_threads() } else { 1 };
        for side_by_side in passes.chunks(width) {
            let of_passes = side_by_side.par_iter().map(of_pass).collect::<Result<Vec<_>, _>>()?;
            for (value, of_pass) in of_passes {
                loss += value;
                for (sum, parameter) in gradients.iter_mut().zip(&self.parameters) {
                    if let Some(gradient) = of_pass.get(&parameter.variable) {
                        *sum = (&*sum + gradient.detach())?;
                    }
                }
            }
        }
        Ok((loss, gradients))
    }

    /// The point with how held-out judgments are predicted by the parameters as they stand.
    fn look(&self, point: TuningPoint) -> Result<TuningPoint, TrainError> {
        let network = self.backbone.network_without_gradient()?;
        let pairs: BTreeSet<_> = self.judgments.validation.iter().map(|row| row.pair).collect();
        let pairs: Vec<_> = pairs.into_iter().map(|pair| self.data.pairs()[pair]).collect();
        let judged: Vec<_> = (pairs.iter())
            .map(|pair| Judged { first: pair.first, second: pair.second, judgments: Vec::new() })
            .collect();
        let mut embedded: HashMap<TextId, DVector<f64>> = HashMap::new();
        for pass in batches::passes(&judged, self.config.tokens, |text| self.ids[text].len()) {
            let rows = self.embed(&network, &pass.texts)?.to_vec2::<f32>()?;
            for (text, row) in pass.texts.into_iter().zip(rows) {
                embedded.insert(text, DVector::from_iterator(row.len(), row.into_iter().map(f64::from)));
            }
        }
        let factors = self.objective.factors()?;
        let logits = self.judgments.validation.iter().map(|row| {
            let pair = self.data.pairs()[row.pair];
            (factors.logit(row.user, &(&embedded[&pair.first] - &embedded[&pair.second])), row.preference)
        });
        let score = ValidationScore::new(logits);
        Ok(TuningPoint {
            validation_log_likelihood: score.log_likelihood,
            validation_auc: score.auc,
            ..point
        })
    }

    fn embed(&self, network: &TunableNetwork<'_>, texts: &[TextId]) -> Result<Tensor, TrainError> {
        let ids: Vec<_> = texts.iter().map(|&text| self.ids[text].clone()).collect();
        let texts: Vec<_> = texts.iter().map(|&text| text_of(self.data, text)).collect();
        Ok(network.embed(&texts, &ids)?)
    }

    /// A copy of the backbone's variables: setting one changes it in place.
    fn backbone_values(&self) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let copies = (self.backbone.variables().iter())
            .map(|(name, variable)| Ok((name.clone(), variable.as_tensor().detach().copy()?)));
        copies.collect()
    }
}

/// Where a descent stands, beside parameters and moments.
struct At {
    step: usize,
    best: BTreeMap<String, Tensor>,
    curve: Vec<TuningPoint>,
}

impl At {
    /// The look at which validation was best, the first of equals; there is one before the first step.
    fn best_point(&self) -> TuningPoint {
        self.curve[1..].iter().fold(self.curve[0], |best, point| {
            if point.validation_log_likelihood > best.validation_log_likelihood { *point } else { best }
        })
    }
}

fn text_of(data: &Dataset, text: TextId) -> Text<'_> {
    let (prompt, response) = data.text(text);
    Text::new(prompt, response)
}
