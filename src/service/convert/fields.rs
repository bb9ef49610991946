use std::collections::HashSet;

use crate::domain::{Candidates, Comparison, Invalid, RequestId, Weight};
use crate::engine::EngineError;
use crate::service::proto;

/// The largest request that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest prompt or response, bytes.
    pub text_bytes: usize,
    /// Most responses to one prompt in one message, and most candidates to generate.
    pub responses: usize,
    /// Most questions in one call.
    pub questions: usize,
    /// Largest message, bytes.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 64 * 1024, responses: 256, questions: 100, message_bytes: 4 * 1024 * 1024 }
    }
}

impl Limits {
    /// A prompt: not blank, not too long.
    pub(super) fn prompt(&self, field: &str, text: String) -> Result<String, EngineError> {
        if text.trim().is_empty() {
            return Err(Invalid::new(field, format!("{text:?}"), "text that is not blank").into());
        }
        self.text(field, text)
    }

    /// A response, which may be empty. U+0000 is in no text that a person reads, and Postgres cannot keep it.
    pub(super) fn text(&self, field: &str, text: String) -> Result<String, EngineError> {
        if text.contains('\0') {
            return Err(Invalid::new(field, format!("{text:?}"), "text without the character U+0000").into());
        }
        if text.len() > self.text_bytes {
            let given = format!("{} bytes", text.len());
            let allowed = format!("at most {} bytes", self.text_bytes);
            return Err(EngineError::TooLarge(Invalid::new(field, given, allowed)));
        }
        Ok(text)
    }

    /// Responses, at least `least` of them.
    pub(super) fn responses(
        &self,
        field: &str,
        responses: Vec<String>,
        least: usize,
    ) -> Result<Vec<String>, EngineError> {
        if responses.len() < least || responses.len() > self.responses {
            let given = format!("{} responses", responses.len());
            let invalid = Invalid::new(field, given, format!("{least} to {} responses", self.responses));
            return Err(if responses.len() < least {
                invalid.into()
            } else {
                EngineError::TooLarge(invalid)
            });
        }
        responses
            .into_iter()
            .enumerate()
            .map(|(index, response)| self.text(&format!("{field}[{index}]"), response))
            .collect()
    }

    /// A prompt with responses of which at least `least` differ; repeated texts count once.
    pub(super) fn candidates(
        &self,
        parent: &str,
        given: proto::Candidates,
        least: usize,
    ) -> Result<Candidates, EngineError> {
        let dot = if parent.is_empty() { "" } else { "." };
        let field = format!("{parent}{dot}responses");
        let prompt = self.prompt(&format!("{parent}{dot}prompt"), given.prompt)?;
        let mut responses = self.responses(&field, given.responses, least)?;
        let mut seen = HashSet::new();
        responses.retain(|response| seen.insert(response.clone()));
        if responses.len() < least {
            let given = format!("{} different responses", responses.len());
            return Err(Invalid::new(field, given, format!("at least {least} that differ")).into());
        }
        Ok(Candidates { prompt, responses })
    }

    /// A comparison of two different responses.
    pub(super) fn comparison(&self, given: proto::Comparison) -> Result<Comparison, EngineError> {
        let prompt = self.prompt("comparison.prompt", given.prompt)?;
        let response_a = self.text("comparison.response_a", given.response_a)?;
        let response_b = self.text("comparison.response_b", given.response_b)?;
        Ok(Comparison::parse(prompt, response_a, response_b).map_err(|error| error.within("comparison"))?)
    }

    /// How many of something, where 0 means `default`.
    pub(super) fn count(field: &str, given: u32, default: usize, most: usize) -> Result<usize, EngineError> {
        let count = given as usize;
        if count > most {
            return Err(EngineError::TooLarge(Invalid::new(field, given, format!("at most {most}"))));
        }
        Ok(if count == 0 { default } else { count })
    }
}

/// A request id, where one is given.
pub(crate) fn request_id(given: &str) -> Result<Option<RequestId>, EngineError> {
    if given.is_empty() { Ok(None) } else { Ok(Some(RequestId::parse(given)?)) }
}

/// A weight, 1 where none is given.
pub(super) fn weight(given: Option<f64>) -> Result<Weight, EngineError> {
    Ok(given.map_or(Ok(Weight::ONE), Weight::parse)?)
}

/// κ ≥ 0, 0 where none is given.
pub(super) fn risk_aversion(given: Option<f64>) -> Result<f64, EngineError> {
    match given {
        None => Ok(0.0),
        Some(kappa) if kappa >= 0.0 && kappa.is_finite() => Ok(kappa),
        Some(kappa) => Err(Invalid::new("risk_aversion", kappa, "a number of at least 0").into()),
    }
}

/// β, 1 where none is given; below 0 it goes against the user.
pub(super) fn guidance_scale(given: Option<f64>) -> Result<f64, EngineError> {
    match given {
        None => Ok(1.0),
        Some(beta) if beta.abs() <= 1e6 => Ok(beta),
        Some(beta) => Err(Invalid::new("guidance_scale", beta, "a number from -1e6 to 1e6").into()),
    }
}

/// A revision to wait for, as the engine counts.
pub(super) fn revision(given: u64) -> Result<i64, EngineError> {
    let allowed = "a revision that this service has given";
    i64::try_from(given).map_err(|_| Invalid::new("min_revision", given, allowed).into())
}

/// An enum number that this version does not know.
pub(super) fn unknown_number(field: &str, number: i32, allowed: &str) -> EngineError {
    Invalid::new(field, number, allowed).into()
}

/// A page of a list: what comes after `after`, at most `limit`.
pub(crate) struct Page<K> {
    pub(crate) after: Option<K>,
    pub(crate) limit: u32,
}

impl<K> Page<K> {
    /// From a size (0: 100, at most 1000) and the token of the page before, which `parse` turns into a key.
    pub(crate) fn parse(
        size: u32,
        token: &str,
        parse: impl FnOnce(String) -> Option<K>,
    ) -> Result<Self, EngineError> {
        if size > 1000 {
            return Err(Invalid::new("page_size", size, "at most 1000").into());
        }
        let limit = if size == 0 { 100 } else { size };
        if token.is_empty() {
            return Ok(Self { after: None, limit });
        }
        let key = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).and_then(parse);
        let invalid =
            || Invalid::new("page_token", token, "the next_page_token of the page before, or nothing");
        Ok(Self { after: Some(key.ok_or_else(invalid)?), limit })
    }

    /// One more than fits the page, which tells whether there is a next one.
    pub(crate) fn probe(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts what was found to the page, and gives the token of the next.
    pub(crate) fn cut<R>(&self, rows: &mut Vec<R>, key: impl FnOnce(&R) -> String) -> String {
        if rows.len() <= self.limit as usize {
            return String::new();
        }
        rows.truncate(self.limit as usize);
        rows.last().map(|row| hex::encode(key(row))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_by_their_tokens() {
        let page = Page::parse(2, "", Some).unwrap();
        assert_eq!((page.after.clone(), page.probe()), (None::<String>, 3));
        let mut rows = vec!["ada", "bob", "eve"];
        let token = page.cut(&mut rows, |row| (*row).to_owned());
        assert_eq!(rows, ["ada", "bob"]);
        let next = Page::parse(2, &token, Some).unwrap();
        assert_eq!(next.after.as_deref(), Some("bob"));
        assert_eq!(next.cut(&mut vec!["eve"], |row| (*row).to_owned()), "");
        assert!(Page::parse(0, "no hex", Some).is_err());
        assert!(Page::parse(1001, "", Some).is_err());
    }

    #[test]
    fn text_that_no_database_keeps_is_refused() {
        let limits = Limits::default();
        assert_eq!(limits.text("response_a", "a\nb".to_owned()).unwrap(), "a\nb");
        let error = limits.prompt("prompt", "a\0b".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), r#"prompt: got "a\0b"; allowed: text without the character U+0000"#);
    }

    #[test]
    fn repeated_candidates_count_once_and_two_must_differ() {
        let limits = Limits::default();
        let given = |responses: &[&str]| proto::Candidates {
            prompt: "x".to_owned(),
            responses: responses.iter().map(|&response| response.to_owned()).collect(),
        };
        assert_eq!(
            limits.candidates("candidates", given(&["a", "b", "a"]), 2).unwrap().responses,
            ["a", "b"]
        );
        let error = limits.candidates("candidates", given(&["a", "a"]), 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "candidates.responses: got 1 different responses; allowed: at least 2 that differ"
        );
    }
}
