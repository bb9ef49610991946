use serde::Serialize;

use crate::evaluate::Method;

/// Whose questions people answer before a φ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Questions {
    /// Those that the learned φ chose: the same for all.
    Learned,
    /// Those that the φ itself chose.
    #[serde(rename = "itself")]
    Own,
    /// Drawn at random: the same for all.
    Random,
}

impl Questions {
    pub(super) const ALL: [Self; 3] = [Self::Learned, Self::Own, Self::Random];

    /// Who asks them.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Learned | Self::Own => Method::Pref,
            Self::Random => Method::Random,
        }
    }

    /// The name in the table, and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Own => "itself",
            Self::Random => "random",
        }
    }
}
