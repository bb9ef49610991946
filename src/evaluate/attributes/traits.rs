use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The seven attributes of App. B.1, each with two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// Brief or detailed.
    Length,
    /// Casual or formal.
    Formality,
    /// Serious or humorous.
    Humour,
    /// Closes the matter or asks the user back.
    Elicitation,
    /// Blunt or polite.
    Politeness,
    /// Matter-of-fact or enthusiastic.
    Enthusiasm,
    /// Hedging or sure of itself.
    Confidence,
}

/// Number of attributes.
pub const ATTRIBUTES: usize = 7;

/// Length of [`Traits::features`]: the attributes and quality.
pub const FEATURES: usize = ATTRIBUTES + 1;

impl Attribute {
    /// All attributes, in the order of [`Traits::levels`].
    pub const ALL: [Self; ATTRIBUTES] = [
        Self::Length,
        Self::Formality,
        Self::Humour,
        Self::Elicitation,
        Self::Politeness,
        Self::Enthusiasm,
        Self::Confidence,
    ];

    /// The attribute's name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Formality => "formality",
            Self::Humour => "humour",
            Self::Elicitation => "elicitation",
            Self::Politeness => "politeness",
            Self::Enthusiasm => "enthusiasm",
            Self::Confidence => "confidence",
        }
    }

    /// The word for answers at this end of the attribute: "likes *short* answers".
    pub fn adjective(self, positive: bool) -> &'static str {
        match (self, positive) {
            (Self::Length, false) => "short",
            (Self::Length, true) => "detailed",
            (Self::Formality, false) => "casual",
            (Self::Formality, true) => "formal",
            (Self::Humour, false) => "serious",
            (Self::Humour, true) => "humorous",
            (Self::Elicitation, false) => "conclusive",
            (Self::Elicitation, true) => "inquiring",
            (Self::Politeness, false) => "blunt",
            (Self::Politeness, true) => "polite",
            (Self::Enthusiasm, false) => "matter-of-fact",
            (Self::Enthusiasm, true) => "enthusiastic",
            (Self::Confidence, false) => "cautious",
            (Self::Confidence, true) => "confident",
        }
    }
}

/// What a text of the set truly is, known because it was written to be so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traits {
    /// By attribute, in {−1, −½, 0, ½, 1}; the sign is the direction.
    pub levels: [f64; ATTRIBUTES],
    /// In \[−1, 1\]: the share of the advice that is concrete rather than filler, from none to all.
    pub quality: f64,
}

impl Traits {
    /// Levels and quality as one vector, quality last: the true base functions of the set.
    pub fn features(&self) -> [f64; FEATURES] {
        std::array::from_fn(|at| self.levels.get(at).copied().unwrap_or(self.quality))
    }

    /// The level of one attribute.
    pub fn level(&self, attribute: Attribute) -> f64 {
        self.levels[attribute as usize]
    }

    /// How many pieces of advice a text of this length gives.
    pub(super) fn pieces(&self) -> usize {
        match (2.0 * self.level(Attribute::Length)) as i32 {
            ..=-2 => 1,
            -1 => 2,
            0 => 3,
            _ => 4,
        }
    }

    /// How many of them are concrete.
    pub(super) fn concrete(&self) -> usize {
        ((self.quality + 1.0) / 2.0 * self.pieces() as f64).round() as usize
    }

    /// Draws the traits of a text: any length, about two in three of the other attributes shown.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut levels = [0.0; ATTRIBUTES];
        for attribute in Attribute::ALL {
            levels[attribute as usize] = match attribute {
                Attribute::Length => LENGTHS[rng.random_range(0..5)],
                _ if rng.random_range(0..100) < SHOWN_PERCENT => {
                    [-1.0, -0.5, 0.5, 1.0][rng.random_range(0..4)]
                }
                _ => 0.0,
            };
        }
        Self::with_quality(levels, rng)
    }

    /// Draws a text that contrasts with this one: most traits turned round, some drawn afresh.
    pub(super) fn contrast(&self, rng: &mut ChaCha8Rng) -> Self {
        let mut levels = Self::draw(rng).levels;
        for (new, old) in levels.iter_mut().zip(self.levels) {
            if old != 0.0 && rng.random_range(0..100) < TURNED_PERCENT {
                *new = -old;
            }
        }
        Self::with_quality(levels, rng)
    }

    /// Draws how many of the pieces of advice are concrete.
    fn with_quality(levels: [f64; ATTRIBUTES], rng: &mut ChaCha8Rng) -> Self {
        let mut traits = Self { levels, quality: 0.0 };
        let pieces = traits.pieces();
        traits.quality = 2.0 * rng.random_range(0..=pieces as u32) as f64 / pieces as f64 - 1.0;
        traits
    }
}

const LENGTHS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];
const SHOWN_PERCENT: u32 = 65;
const TURNED_PERCENT: u32 = 60;
