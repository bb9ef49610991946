//! Texts as JSON lines, from standard input or a file, for the commands that read them there.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::domain::Invalid;
use crate::model::Text;

/// A response to a prompt; an empty prompt is a text that stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnedText {
    pub(super) prompt: String,
    pub(super) response: String,
}

impl OwnedText {
    pub(super) fn borrow(&self) -> Text<'_> {
        Text::new(&self.prompt, &self.response)
    }
}

/// The different prompts of a file of JSON lines, in order; other fields are passed over.
pub(super) fn read_prompts(path: &Path) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        prompt: String,
    }
    let file = File::open(path).with_context(|| format!("--prompts {}", path.display()))?;
    let mut prompts = Vec::new();
    let mut seen = HashSet::new();
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let place = || format!("{}:{}", path.display(), at + 1);
        let line = line.with_context(place)?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { prompt } = serde_json::from_str(&line).with_context(place)?;
        if prompt.trim().is_empty() {
            bail!("{}: prompt: got {prompt:?}; allowed: text that is not blank", place());
        }
        if seen.insert(prompt.clone()) {
            prompts.push(prompt);
        }
    }
    Ok(prompts)
}

/// What a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// `{prompt, response}`
    Responses,
    /// `{text}` or `{prompt, response}`
    TextsOrResponses,
}

/// Lines that go to the model together.
const CHUNK: usize = 256;

impl Lines {
    /// Reads `input` to its end and gives it to `take` in chunks, never cutting between neighbouring lines of one
    /// prompt, which a backbone may have to shorten together. Blank lines are passed over; a bad line is an error
    /// with its number.
    pub(super) fn read(
        self,
        mut input: impl BufRead,
        mut take: impl FnMut(&[OwnedText]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut chunk: Vec<OwnedText> = Vec::new();
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let read = input.read_line(&mut line).map_err(|error| match error.kind() {
                ErrorKind::InvalidData => anyhow::anyhow!("line {number}: not UTF-8; allowed: UTF-8 text"),
                _ => error.into(),
            })?;
            if read == 0 {
                break;
            }
            // Windows' editors put a byte order mark before the first line.
            let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
            if line.trim().is_empty() {
                continue;
            }
            let text = self.parse(line).with_context(|| format!("line {number}"))?;
            if chunk.len() >= CHUNK && chunk.last().is_some_and(|last| last.prompt != text.prompt) {
                take(&chunk)?;
                chunk.clear();
            }
            chunk.push(text);
        }
        if chunk.is_empty() { Ok(()) } else { take(&chunk) }
    }

    fn parse(self, line: &str) -> Result<OwnedText, Invalid> {
        let allowed = match self {
            Self::Responses => "{\"prompt\": …, \"response\": …}",
            Self::TextsOrResponses => "{\"text\": …} or {\"prompt\": …, \"response\": …}",
        };
        let line: Line = serde_json::from_str(line)
            .map_err(|error| Invalid::new("JSON", error, format!("an object {allowed}")))?;
        match line {
            Line { text: Some(text), prompt: None, response: None } if self == Self::TextsOrResponses => {
                Ok(OwnedText { prompt: String::new(), response: text })
            }
            Line { text: None, prompt: Some(prompt), response: Some(response) } => {
                if prompt.trim().is_empty() {
                    return Err(Invalid::new("prompt", format!("{prompt:?}"), "text that is not blank"));
                }
                Ok(OwnedText { prompt, response })
            }
            Line { text: None, prompt: Some(_), response: None } => {
                Err(Invalid::new("response", "nothing", allowed))
            }
            Line { text: None, prompt: None, response: Some(_) } => {
                Err(Invalid::new("prompt", "nothing", allowed))
            }
            Line { text: None, .. } => Err(Invalid::new("fields", "none of these", allowed)),
            Line { text: Some(_), .. } if self == Self::Responses => {
                Err(Invalid::new("text", "a text", allowed))
            }
            Line { text: Some(_), .. } => {
                Err(Invalid::new("text", "a prompt or response beside it", allowed))
            }
        }
    }
}

#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    prompt: Option<String>,
    response: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: Lines, input: &[u8]) -> Result<Vec<Vec<OwnedText>>, String> {
        let mut chunks = Vec::new();
        let keep = |chunk: &[OwnedText]| {
            chunks.push(chunk.to_vec());
            Ok(())
        };
        lines.read(input, keep).map_err(|error| format!("{error:#}"))?;
        Ok(chunks)
    }

    #[test]
    fn takes_both_forms_and_passes_over_blank_lines_and_other_fields() {
        let input = b"\xef\xbb\xbf{\"text\": \"a\"}\n\n{\"prompt\": \"x\", \"response\": \"\", \"id\": 7}";
        let chunks = read(Lines::TextsOrResponses, input).unwrap();
        let text =
            |prompt: &str, response: &str| OwnedText { prompt: prompt.into(), response: response.into() };
        assert_eq!(chunks, [vec![text("", "a"), text("x", "")]]);
        assert_eq!(read(Lines::TextsOrResponses, b"").unwrap(), [[]; 0]);
    }

    #[test]
    fn a_bad_line_has_a_number_a_field_and_what_is_allowed() {
        let cases: [(&[u8], &str); 7] = [
            (b"{\"text\": 7}", "line 1: JSON: got invalid type"),
            (b"\n{\"text\": \"a\"", "line 2: JSON: got EOF"),
            (b"{\"prompt\": \"x\"}", "line 1: response: got nothing; allowed: {\"text\": "),
            (b"{\"response\": \"x\"}", "line 1: prompt: got nothing"),
            (b"{}", "line 1: fields: got none of these"),
            (
                b"{\"prompt\": \" \", \"response\": \"y\"}",
                "line 1: prompt: got \" \"; allowed: text that is not blank",
            ),
            (b"{\"text\": \"\xff\"}", "line 1: not UTF-8"),
        ];
        for (input, start) in cases {
            let error = read(Lines::TextsOrResponses, input).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
        let error = read(Lines::Responses, b"{\"text\": \"a\"}").unwrap_err();
        assert!(error.starts_with("line 1: text: got a text; allowed: {\"prompt\""), "{error}");
    }

    #[test]
    fn neighbours_of_one_prompt_stay_together() {
        let line = |n: usize| format!("{{\"prompt\": \"x{}\", \"response\": \"{n}\"}}\n", n / 300);
        let input: String = (0..700).map(line).collect();
        let sizes: Vec<_> =
            read(Lines::Responses, input.as_bytes()).unwrap().iter().map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [300, 300, 100]);
    }
}
