use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::domain::Invalid;
use crate::generate::Rejection;

/// How a completion is chosen for a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// The best of N for them; of one, the generator's own.
    BestOf(usize),
    /// The best of N, of which those that begin badly are given up on the way.
    Rejecting(usize),
    /// Every token by a value head, with this β.
    ValueGuided(f64),
}

impl FromStr for Strategy {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let allowed = "unguided, best-of-N (N from 1 to 1000), rejecting-N (N from 16 to 1000), value-guided-β (β from 0)";
        let refuse = || Invalid::new("strategies", format!("{given:?}"), allowed);
        if given == "unguided" {
            return Ok(Self::BestOf(1));
        }
        if let Some(n) = given.strip_prefix("best-of-") {
            let n = n.parse().ok().filter(|n| (1..=1000).contains(n));
            return n.map(Self::BestOf).ok_or_else(refuse);
        }
        if let Some(n) = given.strip_prefix("rejecting-") {
            let n = n.parse().ok().filter(|n| (Rejection::LEAST..=1000).contains(n));
            return n.map(Self::Rejecting).ok_or_else(refuse);
        }
        let scale = given.strip_prefix("value-guided-").and_then(|scale| scale.parse().ok());
        let scale = scale.filter(|scale: &f64| scale.is_finite() && *scale >= 0.0);
        scale.map(Self::ValueGuided).ok_or_else(refuse)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestOf(1) => f.pad("unguided"),
            Self::BestOf(n) => f.pad(&format!("best-of-{n}")),
            Self::Rejecting(n) => f.pad(&format!("rejecting-{n}")),
            Self::ValueGuided(scale) => f.pad(&format!("value-guided-{scale}")),
        }
    }
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_as_they_are_written() {
        for name in ["unguided", "best-of-16", "rejecting-16", "value-guided-2.5", "value-guided-0"] {
            assert_eq!(name.parse::<Strategy>().unwrap().to_string(), name);
        }
        for name in
            ["best-of-0", "best-of-x", "rejecting-15", "value-guided--1", "value-guided-inf", "style", ""]
        {
            assert_eq!(name.parse::<Strategy>().unwrap_err().field, "strategies");
        }
    }
}
