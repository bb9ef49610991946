use super::{Observer, Stage, TrainError};
use crate::math::factorization;

/// Hands the progress of one stage on, and cancellation back.
pub(super) struct Watch<'a> {
    observer: &'a mut dyn Observer,
    stage: Stage,
    /// Where in the stage it begins and ends.
    part: (f64, f64),
    /// Done of the part.
    share: f64,
}

impl<'a> Watch<'a> {
    /// Begins a stage.
    pub(super) fn begin(observer: &'a mut dyn Observer, stage: Stage) -> Self {
        Self::part(observer, stage, 0.0, 1.0)
    }

    /// Begins a part of a stage.
    pub(super) fn part(observer: &'a mut dyn Observer, stage: Stage, from: f64, to: f64) -> Self {
        observer.progress(stage, from);
        Self { observer, stage, part: (from, to), share: 0.0 }
    }

    fn tell(&mut self) {
        let (from, to) = self.part;
        self.observer.progress(self.stage, from + (to - from) * self.share);
    }

    /// The stage is done to this share.
    pub(super) fn reach(&mut self, share: f64) -> Result<(), TrainError> {
        self.share = self.share.max(share.clamp(0.0, 1.0));
        self.tell();
        if self.observer.is_cancelled() { Err(TrainError::Cancelled) } else { Ok(()) }
    }
}

impl factorization::Observer for Watch<'_> {
    /// A factorization's own stages one after the other; most of the time goes into the last two.
    fn progress(&mut self, progress: factorization::Progress) {
        let (from, to) = match progress.stage {
            factorization::Stage::Classic => (0.0, 0.2),
            factorization::Stage::Tune | factorization::Stage::Fit => (0.2, 1.0),
        };
        let done = progress.step as f64 / progress.of.max(1) as f64;
        self.share = self.share.max((from + (to - from) * done).min(1.0));
        self.tell();
    }

    fn is_cancelled(&self) -> bool {
        self.observer.is_cancelled()
    }
}
