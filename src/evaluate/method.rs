//! The ways of predicting a person's choices that an evaluation holds side by side.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::domain::Invalid;
use crate::math::Acquisition;

/// A way of asking and predicting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// This project: empirical-Bayes prior, questions by information gain.
    Pref,
    /// One shared reward for everybody; asks nothing.
    Classic,
    /// As [`Method::Pref`], with questions drawn at random.
    Random,
    /// λ fitted on another person's answers: whatever this gains is not personal.
    Shuffled,
}

impl Method {
    /// All methods, in the order in which they are reported.
    pub const ALL: [Self; 4] = [Self::Pref, Self::Classic, Self::Random, Self::Shuffled];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pref => "pref",
            Self::Classic => "classic",
            Self::Random => "random",
            Self::Shuffled => "shuffled",
        }
    }

    /// How this method chooses its questions; nothing where it asks none of its own.
    pub(super) fn acquisition(self) -> Option<Acquisition> {
        match self {
            Self::Pref => Some(Acquisition::InformationGain),
            Self::Random => Some(Acquisition::Random),
            Self::Classic | Self::Shuffled => None,
        }
    }
}

impl std::str::FromStr for Method {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| Invalid::new("methods", format!("{name:?}"), Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
