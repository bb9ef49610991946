use serde::{Deserialize, Serialize};

use super::Invalid;

/// How far a person's answers are taken to hold; all of them for good, and as they were given, unless told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Days by which an answer is older than the person's newest one when it counts half; nothing: answers do not age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    half_life_days: Option<f64>,
    /// Share of answers that are slips, of either outcome alike.
    #[serde(default)]
    lapse_rate: f64,
}

impl Reliability {
    /// # Errors
    /// A half-life that is not positive and finite, a lapse rate outside [0, 1).
    pub fn new(half_life_days: Option<f64>, lapse_rate: f64) -> Result<Self, Invalid> {
        let reliability = Self { half_life_days, lapse_rate };
        reliability.check()?;
        Ok(reliability)
    }

    /// Whether what was read from outside is in range.
    ///
    /// # Errors
    /// As [`Reliability::new`].
    pub fn check(&self) -> Result<(), Invalid> {
        let Self { half_life_days, lapse_rate } = *self;
        if let Some(days) = half_life_days.filter(|days| !(*days > 0.0 && days.is_finite())) {
            return Err(Invalid::new("half_life_days", days, "a positive number of days"));
        }
        if !(0.0..1.0).contains(&lapse_rate) {
            return Err(Invalid::new("lapse_rate", lapse_rate, "a share in [0, 1)"));
        }
        Ok(())
    }

    /// Days in which an answer's weight halves, counted back from the person's newest answer.
    pub fn half_life_days(&self) -> Option<f64> {
        self.half_life_days
    }

    /// ε of p = ε/2 + (1 − ε) σ(λᵀδ).
    pub fn lapse_rate(&self) -> f64 {
        self.lapse_rate
    }

    /// Whether answers hold for good, and as they were given.
    pub fn is_full(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        for days in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = Reliability::new(Some(days), 0.0).unwrap_err();
            assert_eq!((refused.field.as_str(), refused.given), ("half_life_days", days.to_string()));
        }
        for rate in [-0.1, 1.0, f64::NAN] {
            assert_eq!(Reliability::new(None, rate).unwrap_err().field, "lapse_rate");
        }
        assert!(Reliability::new(None, 0.0).unwrap().is_full());
        assert!(!Reliability::new(Some(90.0), 0.02).unwrap().is_full());
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_means_full() {
        let kept = Reliability::new(Some(90.0), 0.02).unwrap();
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Reliability>(&json).unwrap(), kept);
        assert!(serde_json::from_str::<Reliability>("{}").unwrap().is_full());
    }
}
