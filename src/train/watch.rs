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

    /// What is done between two shares of this one.
    pub(super) fn within(&mut self, from: f64, to: f64) -> Watch<'_> {
        let (begin, end) = self.part;
        let at = |share: f64| begin + (end - begin) * share;
        let part = (at(from), at(to));
        Watch { observer: &mut *self.observer, stage: self.stage, part, share: 0.0 }
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
    fn progress(&mut self, progress: factorization::Progress) {
        let done = progress.step as f64 / progress.of.max(1) as f64;
        self.share = self.share.max(done.min(1.0));
        self.tell();
    }

    fn is_cancelled(&self) -> bool {
        self.observer.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use factorization::Observer as _;

    use super::*;

    #[derive(Default)]
    struct Heard(Vec<f64>);

    impl Observer for Heard {
        fn progress(&mut self, _: Stage, share: f64) {
            self.0.push(share);
        }
    }

    #[test]
    fn steps_of_one_thing_after_the_other_move_the_share_on() {
        let mut heard = Heard::default();
        let mut watch = Watch::part(&mut heard, Stage::Tune, 0.5, 1.0);
        let step = |step| factorization::Progress { step, of: 4, objective: None };
        let mut trials = watch.within(0.0, 0.5);
        trials.progress(step(4));
        trials.progress(step(1));
        watch.within(0.5, 1.0).progress(step(2));
        assert_eq!(heard.0, [0.5, 0.75, 0.75, 0.875]);
    }
}
