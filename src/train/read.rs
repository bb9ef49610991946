use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::dataset::{Builder, Dataset, Line};
use super::error::TrainError;
use crate::domain::{Candidates, Comparison, Invalid, Judgment, PoolName, UserId};

/// What a line may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest prompt or response, in bytes.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 1 << 20 }
    }
}

impl Limits {
    /// Longest line, in bytes: room for several texts of the longest kind, so that a file without line ends cannot
    /// fill the memory.
    fn line_bytes(self) -> usize {
        (16 * self.text_bytes).max(1 << 16)
    }
}

/// Reads preference files: JSON objects, one a line, with `user_id`, `prompt`, `response_a`, `response_b`,
/// `preference` and optionally `group`. Other fields and blank lines are ignored; `.gz` is unpacked on the way.
///
/// Lines whose two responses are equal are skipped and counted ([`Dataset::equal`]).
///
/// # Errors
/// The first line that cannot be taken, with file, line, field, what was given and what is allowed; and files that
/// leave nothing.
pub fn read_dataset<P: AsRef<Path>>(paths: &[P], limits: Limits) -> Result<Dataset, TrainError> {
    let mut builder = Builder::default();
    for path in paths {
        for_each_line(path.as_ref(), limits, |line| {
            let line: PreferenceLine = parse(line, PREFERENCE_FIELDS)?;
            builder.parse(line.check(limits)?)
        })?;
    }
    let lines = builder.lines();
    let data = builder.build();
    if data.rows().is_empty() {
        return Err(TrainError::NoJudgments { files: join(paths), lines, equal: data.equal() });
    }
    Ok(data)
}

/// Reads pool files: JSON objects, one a line, with `prompt` and `responses`, a list of texts. `.gz` is unpacked.
///
/// # Errors
/// As [`read_dataset`].
pub fn read_candidates<P: AsRef<Path>>(paths: &[P], limits: Limits) -> Result<Vec<Candidates>, TrainError> {
    let mut all = Vec::new();
    for path in paths {
        for row in candidate_rows(path.as_ref(), limits) {
            all.push(row?.1.candidates);
        }
    }
    if all.is_empty() {
        return Err(TrainError::NoCandidates { files: join(paths) });
    }
    Ok(all)
}

/// A line of a pool file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateRow {
    /// The pool that the line names, if it names one.
    pub pool: Option<PoolName>,
    /// The prompt, and at least one response.
    pub candidates: Candidates,
}

/// A pool file's rows as they are asked for, each with its line: as [`read_candidates`], for files of any length.
pub fn candidate_rows(
    path: &Path,
    limits: Limits,
) -> impl Iterator<Item = Result<(usize, CandidateRow), TrainError>> + Send + use<> {
    rows(path, limits, |line, limits| {
        let line: CandidatesLine = parse(line, CANDIDATES_FIELDS)?;
        let prompt = text("prompt", &line.prompt, limits)?;
        if prompt.trim().is_empty() {
            return Err(Invalid::new("prompt", format!("{prompt:?}"), "text that is not blank"));
        }
        let responses = line.responses.unwrap_or_default();
        if responses.is_empty() {
            return Err(missing("responses", "a list of at least one text"));
        }
        for (index, response) in responses.iter().enumerate() {
            check_length(&format!("responses[{index}]"), response, limits)?;
        }
        let pool = line.pool.map(PoolName::parse).transpose()?;
        Ok(CandidateRow { pool, candidates: Candidates { prompt: prompt.to_owned(), responses } })
    })
}

/// A preference file's rows as they are asked for, each with its line: as [`read_dataset`], for files of any length.
/// A line whose two responses are equal has nothing to tell and is `None`.
pub fn judgment_rows(
    path: &Path,
    limits: Limits,
) -> impl Iterator<Item = Result<(usize, Option<Judgment>), TrainError>> + Send + use<> {
    rows(path, limits, |line, limits| {
        let line: PreferenceLine = parse(line, PREFERENCE_FIELDS)?;
        let Line { user_id, prompt, response_a, response_b, preference, group } = line.check(limits)?;
        let user_id = UserId::parse(user_id)?;
        if response_a == response_b {
            return Ok(None);
        }
        Ok(Some(Judgment {
            user_id,
            comparison: Comparison::parse(prompt, response_a, response_b)?,
            preference,
            group: group.to_owned(),
        }))
    })
}

/// A line of a preference file; everything optional, so that what is missing can be named.
#[derive(Deserialize)]
struct PreferenceLine {
    user_id: Option<String>,
    prompt: Option<String>,
    response_a: Option<String>,
    response_b: Option<String>,
    preference: Option<f64>,
    group: Option<String>,
}

impl PreferenceLine {
    /// With every field there, texts within the limits, and a preference from 0 to 1.
    fn check(&self, limits: Limits) -> Result<Line<'_>, Invalid> {
        let prompt = text("prompt", &self.prompt, limits)?;
        let response_a = text("response_a", &self.response_a, limits)?;
        let response_b = text("response_b", &self.response_b, limits)?;
        let user_id = self.user_id.as_deref().ok_or_else(|| missing("user_id", "the id of a user"))?;
        let preference = self.preference.ok_or_else(|| missing("preference", "a number from 0 to 1"))?;
        if !(0.0..=1.0).contains(&preference) {
            let allowed = "a number from 0 (response_b preferred) to 1 (response_a preferred)";
            return Err(Invalid::new("preference", preference, allowed));
        }
        let group = self.group.as_deref().unwrap_or_default();
        Ok(Line { user_id, prompt, response_a, response_b, preference, group })
    }
}

/// A line of a pool file; everything optional, as above.
#[derive(Deserialize)]
struct CandidatesLine {
    pool: Option<String>,
    prompt: Option<String>,
    responses: Option<Vec<String>>,
}

/// A field's name, what it must be in words, and the test of it.
type Field = (&'static str, &'static str, fn(&Value) -> bool);

const PREFERENCE_FIELDS: &[Field] = &[
    ("user_id", "a string", Value::is_string),
    ("prompt", "a string", Value::is_string),
    ("response_a", "a string", Value::is_string),
    ("response_b", "a string", Value::is_string),
    ("preference", "a number from 0 to 1", Value::is_number),
    ("group", "a string", Value::is_string),
];

const CANDIDATES_FIELDS: &[Field] = &[
    ("pool", "a string", Value::is_string),
    ("prompt", "a string", Value::is_string),
    ("responses", "a list of strings", |value| {
        value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
    }),
];

/// Parses one line. Where that fails, finds out which field is to blame.
fn parse<T: DeserializeOwned>(line: &[u8], fields: &[Field]) -> Result<T, Invalid> {
    let error = match serde_json::from_slice(line) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&line[..error.valid_up_to()]);
            let field = last_key(&before).unwrap_or("line");
            let given = format!("a byte that is not UTF-8 at column {}", error.valid_up_to() + 1);
            return Err(Invalid::new(field, given, "UTF-8"));
        }
    };
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let Some(object) = value.as_object() else {
            return Err(Invalid::new("line", text, "a JSON object"));
        };
        for (name, allowed, test) in fields {
            if let Some(value) = object.get(*name).filter(|value| !value.is_null() && !test(value)) {
                return Err(Invalid::new(*name, value, *allowed));
            }
        }
    }
    // Python writes NaN and Infinity, which JSON has no words for; name the field that they stand in.
    let start = text[..column(text, &error)].rfind([':', ',', '[', ' ']).map_or(0, |at| at + 1);
    let word: String = text[start..].chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
    if let (true, Some(key)) =
        (["NaN", "Infinity", "-Infinity"].contains(&word.as_str()), last_key(&text[..start]))
    {
        let allowed = fields.iter().find(|(name, ..)| *name == key).map_or("JSON", |(_, allowed, _)| allowed);
        return Err(Invalid::new(key, word, allowed));
    }
    Err(Invalid::new("line", text, format!("a JSON object ({error})")))
}

/// Byte at which serde_json gave up, on a character's border.
fn column(text: &str, error: &serde_json::Error) -> usize {
    let mut at = error.column().min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The last object key that begins in `before`: `"key":`.
fn last_key(before: &str) -> Option<&str> {
    let end = before.rfind("\":").or_else(|| before.rfind("\" :"))?;
    let start = before[..end].rfind('"')? + 1;
    Some(&before[start..end])
}

fn text<'a>(field: &str, text: &'a Option<String>, limits: Limits) -> Result<&'a str, Invalid> {
    let text = text.as_deref().ok_or_else(|| missing(field, "text"))?;
    check_length(field, text, limits)?;
    Ok(text)
}

fn check_length(field: &str, text: &str, limits: Limits) -> Result<(), Invalid> {
    if text.len() > limits.text_bytes {
        let allowed = format!("at most {} bytes", limits.text_bytes);
        return Err(Invalid::new(field, format!("{} bytes", text.len()), allowed));
    }
    Ok(())
}

fn missing(field: &str, allowed: &str) -> Invalid {
    Invalid::new(field, "nothing", allowed)
}

fn join<P: AsRef<Path>>(paths: &[P]) -> String {
    paths.iter().map(|path| path.as_ref().display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Hands the lines of a file on one by one.
fn for_each_line(
    path: &Path,
    limits: Limits,
    mut take: impl FnMut(&[u8]) -> Result<(), Invalid>,
) -> Result<(), TrainError> {
    let mut lines = Lines::open(path, limits)?;
    while let Some(line) = lines.next()? {
        let taken = take(line);
        taken.map_err(|invalid| lines.refused(invalid))?;
    }
    Ok(())
}

/// A file's rows as they are asked for, each with its line; the first error is the last item.
fn rows<T>(
    path: &Path,
    limits: Limits,
    parse: fn(&[u8], Limits) -> Result<T, Invalid>,
) -> impl Iterator<Item = Result<(usize, T), TrainError>> + Send + use<T> {
    let mut opened = Some(Lines::open(path, limits));
    std::iter::from_fn(move || {
        let mut lines = match opened.take()? {
            Ok(lines) => lines,
            Err(error) => return Some(Err(error)),
        };
        let row = match lines.next() {
            Ok(Some(line)) => parse(line, limits),
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        };
        Some(match row {
            Ok(row) => {
                let number = lines.number;
                opened = Some(Ok(lines));
                Ok((number, row))
            }
            Err(invalid) => Err(lines.refused(invalid)),
        })
    })
}

/// What Windows' editors put before the first line of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file that are not blank, unpacked where its first bytes are gzip's.
struct Lines {
    path: PathBuf,
    file: Box<dyn BufRead + Send>,
    /// Longest line, in bytes.
    most: usize,
    /// The line that was read last, from 1.
    number: usize,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path, limits: Limits) -> Result<Self, TrainError> {
        let open = || -> std::io::Result<Box<dyn BufRead + Send>> {
            let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
            let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
            Ok(if packed {
                Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
            } else {
                Box::new(file)
            })
        };
        let file = open().map_err(|source| TrainError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, most: limits.line_bytes(), number: 0, line: Vec::new() })
    }

    /// The next line; nothing after the last.
    fn next(&mut self) -> Result<Option<&[u8]>, TrainError> {
        loop {
            self.number += 1;
            self.line.clear();
            let read = (&mut self.file)
                .take(self.most as u64 + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(|source| TrainError::read(&self.path, self.number, source))?;
            if read == 0 {
                return Ok(None);
            }
            if self.line.len() > self.most {
                let given = format!("more than {} bytes without a line end", self.most);
                let invalid = Invalid::new("line", given, format!("at most {} bytes", self.most));
                return Err(self.refused(invalid));
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// What is wrong with the line that was read last.
    fn refused(&self, invalid: Invalid) -> TrainError {
        TrainError::line(&self.path, self.number, invalid)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const GOOD: &str = r#"{"user_id": "u", "prompt": "x", "response_a": "a", "response_b": "", "preference": 1.0, "more": [1]}"#;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn error_of(line: &[u8]) -> String {
        let content = [GOOD.as_bytes(), b"\n", line].concat();
        let file = file(&content);
        let limits = Limits { text_bytes: 100 };
        let message = read_dataset(&[file.path()], limits).unwrap_err().to_string();
        message.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn a_bad_line_is_named_by_file_line_field_given_and_allowed() {
        let line = |key: &str, value: &str| {
            let mut fields = vec![
                ("user_id", "\"u\""),
                ("prompt", "\"x\""),
                ("response_a", "\"a\""),
                ("response_b", "\"b\""),
                ("preference", "1"),
            ];
            fields.retain(|(name, _)| *name != key);
            let mut parts: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
            if !value.is_empty() {
                parts.push(format!("\"{key}\": {value}"));
            }
            error_of(format!("{{{}}}", parts.join(", ")).as_bytes())
        };
        let number = "a number from 0 to 1";
        assert_eq!(line("preference", "NaN"), format!("FILE:2: preference: got NaN; allowed: {number}"));
        assert_eq!(line("preference", "\"1\""), format!("FILE:2: preference: got \"1\"; allowed: {number}"));
        assert_eq!(line("preference", ""), format!("FILE:2: preference: got nothing; allowed: {number}"));
        assert_eq!(line("preference", "null"), format!("FILE:2: preference: got nothing; allowed: {number}"));
        assert!(
            line("preference", "1.5").starts_with("FILE:2: preference: got 1.5; allowed: a number from 0")
        );
        assert!(
            line("preference", "-0.1").starts_with("FILE:2: preference: got -0.1; allowed: a number from 0")
        );
        assert_eq!(line("prompt", "\"  \""), "FILE:2: prompt: got \"  \"; allowed: text that is not blank");
        assert_eq!(line("prompt", ""), "FILE:2: prompt: got nothing; allowed: text");
        assert_eq!(line("response_b", "7"), "FILE:2: response_b: got 7; allowed: a string");
        assert!(line("user_id", "\"\"").starts_with("FILE:2: user_id: got \"\"; allowed: 1 to 256 bytes"));
        let long = format!("\"{}\"", "y".repeat(101));
        assert_eq!(
            line("response_a", &long),
            "FILE:2: response_a: got 101 bytes; allowed: at most 100 bytes"
        );
    }

    #[test]
    fn a_line_that_is_no_json_object_or_no_utf8_is_refused() {
        assert!(error_of(b"nonsense").starts_with("FILE:2: line: got nonsense; allowed: a JSON object ("));
        assert_eq!(error_of(b"[1]"), "FILE:2: line: got [1]; allowed: a JSON object");
        let error = error_of(b"{\"user_id\": \"u\", \"prompt\": \"\xff\"}");
        assert_eq!(error, "FILE:2: prompt: got a byte that is not UTF-8 at column 29; allowed: UTF-8");
        let endless = vec![b'y'; Limits { text_bytes: 100 }.line_bytes() + 1];
        assert!(error_of(&endless).starts_with("FILE:2: line: got more than 65536 bytes without a line end"));
    }

    #[test]
    fn packed_and_plain_files_read_alike_and_a_cut_one_is_an_error() {
        let content = format!("{GOOD}\n\n").repeat(500);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let (plain, whole, cut) =
            (file(content.as_bytes()), file(&packed), file(&packed[..packed.len() - 9]));
        let read = |file: &tempfile::NamedTempFile| read_dataset(&[file.path()], Limits::default());
        assert_eq!(read(&plain).unwrap().rows().len(), 500);
        assert_eq!(read(&plain).unwrap().digest(), read(&whole).unwrap().digest());
        assert!(matches!(read(&cut), Err(TrainError::Read { line, .. }) if line > 0));
    }

    #[test]
    fn files_that_leave_nothing_are_an_error_that_counts_what_was_skipped() {
        let empty = file(b"");
        assert!(matches!(
            read_dataset(&[empty.path()], Limits::default()),
            Err(TrainError::NoJudgments { lines: 0, .. })
        ));
        let equal = file(GOOD.replace("\"a\"", "\"\"").as_bytes());
        let error = read_dataset(&[equal.path()], Limits::default()).unwrap_err();
        assert!(error.to_string().ends_with("(1 lines, of which 1 compare a text with itself)"), "{error}");
        let none = Path::new("/nonexistent/preferences.jsonl");
        assert!(matches!(read_dataset(&[none], Limits::default()), Err(TrainError::Open { .. })));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let marked = file(format!("\u{feff}{GOOD}\n{GOOD}\n").as_bytes());
        assert_eq!(read_dataset(&[marked.path()], Limits::default()).unwrap().rows().len(), 2);
        let twice = file(format!("{GOOD}\n\u{feff}{GOOD}\n").as_bytes());
        let error = read_dataset(&[twice.path()], Limits::default()).unwrap_err().to_string();
        assert!(error.contains(":2: line: "), "{error}");
    }

    #[test]
    fn rows_come_with_their_lines_until_the_first_bad_one() {
        let equal = GOOD.replace("\"a\"", "\"\"");
        let content = format!("{GOOD}\n\n{equal}\n{{}}\n{GOOD}\n");
        let content = file(content.as_bytes());
        let mut rows = judgment_rows(content.path(), Limits::default());
        let (line, judgment) = rows.next().unwrap().unwrap();
        let judgment = judgment.unwrap();
        assert_eq!((line, judgment.user_id.as_str(), judgment.preference), (1, "u", 1.0));
        assert_eq!(rows.next().unwrap().unwrap(), (3, None));
        assert!(matches!(rows.next(), Some(Err(TrainError::Line { line: 4, .. }))));
        assert!(rows.next().is_none());
    }

    #[test]
    fn pools_are_read_and_checked() {
        let named = file(b"{\"pool\": \"p\", \"prompt\": \"x\", \"responses\": [\"a\"]}\n");
        let (line, row) = candidate_rows(named.path(), Limits::default()).next().unwrap().unwrap();
        assert_eq!((line, row.pool), (1, Some(PoolName::parse("p").unwrap())));
        let pool = file(b"{\"prompt\": \"x\", \"responses\": [\"a\", \"\"]}\n");
        let read = read_candidates(&[pool.path()], Limits::default()).unwrap();
        assert_eq!(read, [Candidates { prompt: "x".into(), responses: vec!["a".into(), String::new()] }]);
        for (bad, field) in [
            ("{\"prompt\": \"x\", \"responses\": [1]}", "responses: got [1]; allowed: a list of strings"),
            (
                "{\"prompt\": \"x\", \"responses\": []}",
                "responses: got nothing; allowed: a list of at least one text",
            ),
            (
                "{\"prompt\": \" \", \"responses\": [\"a\"]}",
                "prompt: got \" \"; allowed: text that is not blank",
            ),
        ] {
            let error =
                read_candidates(&[file(bad.as_bytes()).path()], Limits::default()).unwrap_err().to_string();
            assert!(error.ends_with(field), "{error}");
        }
    }

    /// Counts of the README beside the sets, which counts the 12 pairs of equal texts too.
    #[test]
    fn real_sets_are_read_whole() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
        for (file, users, prompts, pairs, judgments, equal) in [
            ("llmfao/preferences.jsonl", 84, 10, 1_491, 5_267, 0),
            ("ukpconvarg/preferences.jsonl.gz", 2_660, 26, 13_127 - 12, 43_834, 47),
            ("jester/preferences.jsonl.gz", 1_500, 1, 600, 60_000, 0),
        ] {
            let path = root.join(file);
            if !path.exists() {
                crate::skip::skip("real_sets_are_read_whole", format_args!("no {}", path.display()));
                return;
            }
            let data = read_dataset(&[path], Limits::default()).unwrap();
            assert_eq!((data.lines(), data.equal()), (judgments, equal), "{file}");
            assert_eq!(
                (data.users().len(), data.prompts().len(), data.pairs().len()),
                (users, prompts, pairs),
                "{file}"
            );
        }
    }
}
