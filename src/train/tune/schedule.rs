/// Learning rates over a training: a linear rise over the first steps, then half a cosine down to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// The highest rate.
    pub(super) peak: f64,
    /// Steps of the rise.
    pub(super) warm_up: usize,
    /// All steps.
    pub(super) steps: usize,
}

impl Schedule {
    /// The rate of step `step`, from 0.
    pub(super) fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        let rest = (self.steps - self.warm_up).max(1) as f64;
        let done = (step - self.warm_up) as f64 / rest;
        0.5 * self.peak * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_to_the_peak_and_fall_to_nothing() {
        let schedule = Schedule { peak: 2.0, warm_up: 4, steps: 12 };
        let rates: Vec<f64> = (0..=12).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half-way down");
        assert!(rates[4..].is_sorted_by(|a, b| a > b) && rates[12].abs() < 1e-12);
    }
}
