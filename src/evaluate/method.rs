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
    /// The paper's released way: a start that knows no sign, a zero prior, questions by Eq. 9.
    Paper,
    /// One shared reward for everybody; asks nothing.
    Classic,
    /// A reward of one's own from one's own answers alone.
    PerUser,
    /// A latent variable a person, inferred by a network (Poddar et al. 2024).
    Vpl,
    /// An ideal point a person, among shared prototypes (Chen et al. 2024).
    Pal,
    /// A mixture a person of shared rewards (Bose et al. 2025).
    Lore,
    /// As [`Method::Pref`], with W begun at random.
    NoSvd,
    /// As [`Method::Pref`], with hardly a penalty on W.
    NoReg,
    /// As [`Method::Pref`], with questions drawn at random.
    Random,
    /// As [`Method::Pref`], with questions by D-optimality.
    DOptimal,
    /// As [`Method::Pref`], with questions by Eq. 9.
    Uncertainty,
    /// λ fitted on another person's answers: whatever this gains is not personal.
    Shuffled,
}

impl Method {
    /// All methods, in the order in which they are reported.
    pub const ALL: [Self; 13] = [
        Self::Pref,
        Self::Paper,
        Self::Classic,
        Self::PerUser,
        Self::Vpl,
        Self::Pal,
        Self::Lore,
        Self::NoSvd,
        Self::NoReg,
        Self::Random,
        Self::DOptimal,
        Self::Uncertainty,
        Self::Shuffled,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pref => "pref",
            Self::Paper => "paper",
            Self::Classic => "classic",
            Self::PerUser => "per-user",
            Self::Vpl => "vpl",
            Self::Pal => "pal",
            Self::Lore => "lore",
            Self::NoSvd => "no-svd",
            Self::NoReg => "no-reg",
            Self::Random => "random",
            Self::DOptimal => "d-optimal",
            Self::Uncertainty => "uncertainty",
            Self::Shuffled => "shuffled",
        }
    }

    /// What a row of a table is, for somebody who has not read the list of methods.
    pub fn note(self) -> &'static str {
        match self {
            Self::Pref => "this project: empirical-Bayes prior, questions by information gain",
            Self::Paper => "the released way: uncentred start, zero prior, questions by Eq. 9",
            Self::Classic => "one Bradley-Terry reward for everybody, which no answer changes",
            Self::PerUser => "a reward of one's own from one's own answers alone; random questions",
            Self::Vpl => "variational latent of a person (Poddar et al. 2024)",
            Self::Pal => "ideal point among prototypes (Chen et al. 2024); random questions",
            Self::Lore => "simplex weights over shared rewards (Bose et al. 2025); random questions",
            Self::NoSvd => "pref with W begun at random",
            Self::NoReg => "pref with hardly a penalty on W",
            Self::Random => "pref asking at random",
            Self::DOptimal => "pref asking by D-optimality",
            Self::Uncertainty => "pref asking by Eq. 9",
            Self::Shuffled => "pref with what another person answered: must gain nothing",
        }
    }

    /// How questions are chosen by the methods that a trained model holds already, which differ in nothing else; nothing
    /// for the others.
    pub(super) fn acquisition(self) -> Option<Acquisition> {
        match self {
            Self::Pref | Self::Shuffled => Some(Acquisition::InformationGain),
            Self::Random => Some(Acquisition::Random),
            Self::DOptimal => Some(Acquisition::DOptimal),
            Self::Uncertainty => Some(Acquisition::Uncertainty),
            _ => None,
        }
    }

    /// Whether an artifact does not hold it, so that it must be trained beside.
    pub fn needs_training(self) -> bool {
        self != Self::Classic && self.acquisition().is_none()
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
        f.pad(self.name())
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
