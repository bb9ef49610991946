//! What the methods are trained on: the same judgments, and the same part of them held out to choose hyperparameters.

use std::sync::OnceLock;

use nalgebra::{DMatrix, DVector};
use rand::seq::SliceRandom;

use super::EvaluateError;
use super::models::{Answer, Model, Pair};
use super::protocol::random_stream;
use crate::math::factorization::{self, Comparisons, Observation, Problem};
use crate::math::metrics::mean_log_likelihood;
use crate::math::{MathError, eigenpairs};
use crate::train::{Dataset, Quadrant, cuts, folds};

/// Answers from which a person is learned when hyperparameters are chosen: what an evaluation asks, about.
const ANSWERS: usize = 10;
/// Validation judgments of a person that count, at most.
const TESTED: usize = 40;

/// Judgments to train on, over embedded texts.
pub(super) struct Corpus<'a> {
    data: &'a Dataset,
    /// h, N × d.
    pub(super) embeddings: &'a DMatrix<f64>,
    /// What hyperparameters are chosen by; one cut where there are many prompts ([`cuts`]).
    pub(super) cuts: Vec<Cut>,
    /// All judgments.
    pub(super) all: Vec<Observation>,
    /// Cuts by people: judgments to fit on, and those of people left out of them.
    pub(super) folds: Vec<(Vec<Observation>, Vec<Observation>)>,
    /// Seed of all that is drawn.
    pub(super) seed: u64,
    coordinates: OnceLock<Coordinates>,
}

/// Judgments held out to choose hyperparameters by.
pub(super) struct Cut {
    /// Four fifths of the prompts.
    pub(super) train: Vec<Observation>,
    /// The same people's judgments of the other prompts.
    pub(super) validation: Vec<Observation>,
}

/// What a gradient method is fitted on.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// A cut's training part, with early stopping by what it holds out.
    Cut(&'a Cut),
    /// All judgments, for so many steps.
    All(usize),
}

impl Part<'_> {
    /// Steps that are given.
    pub(super) fn steps(self) -> Option<usize> {
        match self {
            Self::Cut(_) => None,
            Self::All(steps) => Some(steps),
        }
    }
}

impl<'a> Corpus<'a> {
    /// Splits some rows of a dataset.
    ///
    /// # Errors
    /// Too few judgments.
    pub(super) fn new(
        data: &'a Dataset,
        embeddings: &'a DMatrix<f64>,
        rows: &[usize],
        seed: u64,
    ) -> Result<Self, EvaluateError> {
        let corpus = Self {
            data,
            embeddings,
            cuts: cuts(data, rows, seed)
                .iter()
                .map(|cut| Cut {
                    train: data.observations(cut.rows(Quadrant::Train)),
                    validation: data.observations(cut.rows(Quadrant::Validation)),
                })
                .collect(),
            all: data.observations(rows),
            folds: folds(data, rows, seed)
                .iter()
                .map(|fold| (data.observations(&fold.fitted), data.observations(&fold.newcomers)))
                .collect(),
            seed,
            coordinates: OnceLock::new(),
        };
        if corpus.cuts.is_empty() {
            return Err(EvaluateError::TooFew { judgments: rows.len() });
        }
        Ok(corpus)
    }

    /// People, those without judgments among these rows included.
    pub(super) fn users(&self) -> usize {
        self.data.users().len()
    }

    /// A part of the judgments as the factorization takes them.
    pub(super) fn comparisons<'b>(&'b self, observations: &'b [Observation]) -> Comparisons<'b> {
        Comparisons { embeddings: self.embeddings, observations, users: self.users(), style: None }
    }

    /// The coordinates that networks and gradient descent learn in.
    pub(super) fn coordinates(&self) -> &Coordinates {
        self.coordinates.get_or_init(|| {
            let mut pairs: Vec<_> = self.all.iter().map(|o| (o.first, o.second)).collect();
            pairs.sort_unstable();
            pairs.dedup();
            Coordinates::new(self.embeddings, &pairs)
        })
    }

    /// The judgments of a part that a method is fitted on, and those that it may stop by.
    pub(super) fn judged<'b>(&'b self, part: Part<'b>) -> (&'b [Observation], &'b [Observation]) {
        match part {
            Part::Cut(cut) => (&cut.train, &cut.validation),
            Part::All(_) => (&self.all, &[]),
        }
    }

    /// The cuts as the factorization takes them.
    pub(super) fn ready(&self) -> Result<Vec<factorization::Cut>, MathError> {
        let ready = |Cut { train, validation }: &Cut| {
            factorization::Cut::new(Problem::new(&self.comparisons(train))?, validation)
        };
        self.cuts.iter().map(ready).collect()
    }

    /// What a setting comes to over all cuts: the mean of [`Self::few_shot`], and of the steps that early stopping took.
    pub(super) fn trial<M: Model>(
        &self,
        mut fit: impl FnMut(Part<'_>) -> Result<(M, usize), EvaluateError>,
    ) -> Result<(f64, usize), EvaluateError> {
        let (mut reached, mut taken) = (0.0, 0);
        for cut in &self.cuts {
            let (model, steps) = fit(Part::Cut(cut))?;
            reached += self.few_shot(&model, cut)?;
            taken += steps;
        }
        Ok((reached / self.cuts.len() as f64, taken / self.cuts.len()))
    }

    /// How well a model meets people anew: the mean log-likelihood in nats of held-out judgments of every person who
    /// is learned from at most [`ANSWERS`] of their other judgments, drawn at random, the same for every model.
    fn few_shot(&self, model: &dyn Model, cut: &Cut) -> Result<f64, EvaluateError> {
        let asked = self.by_user(&cut.train, "few-shot answers");
        let tested = self.by_user(&cut.validation, "few-shot test");
        self.predicted(model, asked.iter().zip(&tested).map(|(asked, tested)| (&asked[..], &tested[..])))
    }

    /// The same for people left out of a fit altogether: some of their judgments are asked, the others tested.
    pub(super) fn few_shot_of_newcomers(
        &self,
        model: &dyn Model,
        newcomers: &[Observation],
    ) -> Result<f64, EvaluateError> {
        let judged = self.by_user(newcomers, "few-shot newcomers");
        self.predicted(model, judged.iter().map(|judged| judged.split_at(ANSWERS.min(judged.len() / 2))))
    }

    /// Each person's decided judgments in random order.
    fn by_user(&self, part: &[Observation], purpose: &str) -> Vec<Vec<Observation>> {
        let mut users: Vec<Vec<Observation>> = vec![Vec::new(); self.users()];
        decided(part).for_each(|o| users[o.user].push(*o));
        for (user, of_user) in users.iter_mut().enumerate() {
            of_user.shuffle(&mut random_stream(self.seed, self.data.users()[user].as_str(), purpose));
        }
        users
    }

    /// The mean log-likelihood of at most [`TESTED`] judgments of each person after at most [`ANSWERS`] others.
    fn predicted<'b>(
        &self,
        model: &dyn Model,
        people: impl Iterator<Item = (&'b [Observation], &'b [Observation])>,
    ) -> Result<f64, EvaluateError> {
        let texts = model.encode(self.embeddings);
        let (mut logits, mut outcomes) = (Vec::new(), Vec::new());
        for (asked, tested) in people.filter(|(_, tested)| !tested.is_empty()) {
            let answer = |o: &Observation| Answer {
                pair: Pair::of(&texts, o.first, o.second),
                preference: o.preference,
            };
            let learned = model.learn(&asked.iter().take(ANSWERS).map(answer).collect::<Vec<_>>())?;
            let tested = || tested.iter().take(TESTED);
            logits.extend(tested().map(|o| learned.logit(Pair::of(&texts, o.first, o.second))));
            outcomes.extend(tested().map(|o| o.preference));
        }
        Ok(mean_log_likelihood(&logits, &outcomes).unwrap_or(f64::NEG_INFINITY))
    }
}

/// Judgments that prefer one of the two; what is left to the methods whose papers know no ties.
pub(super) fn decided(observations: &[Observation]) -> impl Iterator<Item = &Observation> {
    observations.iter().filter(|o| o.preference != 0.5)
}

/// Principal coordinates of what compared texts differ in, each feature scaled to the same spread first.
pub(super) struct Coordinates {
    /// Mean of the texts' embeddings (d).
    mean: DVector<f64>,
    /// r × d
    fold: DMatrix<f64>,
}

/// Coordinates kept at most: those in which pairs differ most.
const MOST_COORDINATES: usize = 256;
/// √E‖z₁ − z₂‖² over pairs.
const LENGTH: f64 = 4.0;

impl Coordinates {
    fn new(embeddings: &DMatrix<f64>, pairs: &[(usize, usize)]) -> Self {
        let d = embeddings.ncols();
        let mut moment = DMatrix::zeros(d, d);
        for piece in pairs.chunks(1024) {
            let differences = DMatrix::from_fn(piece.len(), d, |p, k| {
                embeddings[(piece[p].0, k)] - embeddings[(piece[p].1, k)]
            });
            moment += differences.transpose() * &differences;
        }
        moment /= pairs.len().max(1) as f64;
        let deviation: Vec<f64> = (0..d).map(|k| moment[(k, k)].sqrt()).collect();
        let floor = 1e-12 * deviation.iter().fold(0.0_f64, |m, &x| m.max(x));
        let scale: Vec<f64> = deviation.iter().map(|&x| if x > floor { 1.0 / x } else { 0.0 }).collect();
        let scaled = DMatrix::from_fn(d, d, |i, j| moment[(i, j)] * scale[i] * scale[j]);
        let (eigenvalues, eigenvectors) = eigenpairs(scaled);
        let least = 1e-9 * eigenvalues.iter().next().unwrap_or(&0.0);
        let kept = eigenvalues.iter().take(MOST_COORDINATES).take_while(|value| **value > least).count();
        let unit = LENGTH / eigenvalues.rows(0, kept).sum().sqrt();
        let fold = DMatrix::from_fn(kept, d, |k, i| unit * eigenvectors[(i, k)] * scale[i]);
        Self { mean: embeddings.row_mean().transpose(), fold }
    }

    /// r
    pub(super) fn dimension(&self) -> usize {
        self.fold.nrows()
    }

    /// z of texts given by their embeddings (N × d): r × N.
    pub(super) fn of(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        let mut z = &self.fold * embeddings.transpose();
        let offset = &self.fold * &self.mean;
        z.column_iter_mut().for_each(|mut column| column -= &offset);
        z
    }

    /// A map A (k × r) on coordinates as one on embeddings: (k × d) and the offset (k) to be taken off.
    pub(super) fn unfold(&self, map: &DMatrix<f64>) -> (DMatrix<f64>, DVector<f64>) {
        let unfolded = map * &self.fold;
        let offset = &unfolded * &self.mean;
        (unfolded, offset)
    }
}

/// A linear map of embeddings, f = A (h − h̄).
#[derive(Debug, Clone)]
pub(super) struct Projection {
    map: DMatrix<f64>,
    offset: DVector<f64>,
}

impl Projection {
    /// From a map on coordinates (k × r).
    pub(super) fn new(coordinates: &Coordinates, map: &DMatrix<f64>) -> Self {
        let (map, offset) = coordinates.unfold(map);
        Self { map, offset }
    }

    /// f of texts given by their embeddings (N × d): k × N.
    pub(super) fn of(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        let mut f = &self.map * embeddings.transpose();
        f.column_iter_mut().for_each(|mut column| column -= &self.offset);
        f
    }
}
