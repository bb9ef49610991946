use std::fmt;

use super::traits::{ATTRIBUTES, Attribute, FEATURES, Traits};
use crate::domain::UserId;

/// How much each of a person's two attributes counts in their reward, in logits.
pub const TRAIT: f64 = 1.2;

/// How much quality counts, for everybody.
pub const COMMON: f64 = 0.95;

/// How much the answer shown first gains, in logits.
pub const POSITION_BIAS: f64 = 0.4;

/// A simulated person: a taste in two attributes, and the sense of quality that all share.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Their name in the data.
    pub id: UserId,
    /// The attributes that they care about, and whether they like the positive end.
    pub taste: [(Attribute, bool); 2],
}

/// The 84 kinds of people: each pair of attributes × four sign choices (App. B.1).
pub fn kinds() -> Vec<[(Attribute, bool); 2]> {
    let mut kinds = Vec::new();
    for (at, &one) in Attribute::ALL.iter().enumerate() {
        for &other in &Attribute::ALL[at + 1..] {
            for signs in [(true, true), (true, false), (false, true), (false, false)] {
                kinds.push([(one, signs.0), (other, signs.1)]);
            }
        }
    }
    kinds
}

impl Person {
    /// λ over [`Traits::features`]: ±[`TRAIT`] at two attributes, [`COMMON`] at quality.
    pub fn coefficients(&self) -> [f64; FEATURES] {
        let mut lambda = [0.0; FEATURES];
        for (attribute, positive) in self.taste {
            lambda[attribute as usize] = if positive { TRAIT } else { -TRAIT };
        }
        lambda[ATTRIBUTES] = COMMON;
        lambda
    }

    /// r(x, y) = λᵀ(traits of y), Eq. 1.
    pub fn reward(&self, traits: &Traits) -> f64 {
        self.coefficients().iter().zip(traits.features()).map(|(l, f)| l * f).sum()
    }
}

impl fmt::Display for Person {
    /// Their taste in words: `likes short, humorous answers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.taste.map(|(attribute, positive)| attribute.adjective(positive));
        write!(f, "likes {one}, {other} answers")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_84_kinds_with_two_attributes_and_a_shared_sense_of_quality() {
        let kinds = kinds();
        assert_eq!(kinds.len(), 84);
        assert_eq!(kinds.iter().copied().collect::<HashSet<_>>().len(), 84);
        let taste = [(Attribute::Length, false), (Attribute::Humour, true)];
        let person = Person { id: UserId::parse("u").unwrap(), taste };
        assert_eq!(person.coefficients(), [-TRAIT, 0.0, TRAIT, 0.0, 0.0, 0.0, 0.0, COMMON]);
        assert_eq!(person.to_string(), "likes short, humorous answers");
    }
}
