use std::str::FromStr;

use crate::math::questions::MAX_BASE_FUNCTIONS;

/// J, or nothing for `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BaseFunctions(pub(super) Option<usize>);

impl FromStr for BaseFunctions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self(None)),
            Ok(j) if (1..=MAX_BASE_FUNCTIONS).contains(&j) => Ok(Self(Some(j))),
            _ => Err(format!("allowed: auto, or a whole number from 1 to {MAX_BASE_FUNCTIONS}")),
        }
    }
}
