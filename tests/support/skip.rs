//! How a test says that it cannot run here.
//!
//! An integration test has it as `#[path = "support/skip.rs"] mod skip;`, the library's own tests as
//! `crate::skip`: call `skip("test_name", "why")` and return.

use std::io::Write;

/// Prints `skipped: <test>: <why>` past the test harness's capture, so that a run shows what it left out.
///
/// # Panics
/// Where the environment has `CI`, unless tests/skips.txt names the test.
pub(crate) fn skip(test: &str, why: impl std::fmt::Display) {
    let in_ci = std::env::var_os("CI").is_some();
    assert!(
        !in_ci || allowed(include_str!("../skips.txt"), test),
        "{test} may not be skipped in CI ({why}): make it run, or name it in tests/skips.txt with a reason"
    );
    // Standard error itself, because `eprintln!` would be captured; a closed one changes nothing.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Whether a list in the form of tests/skips.txt names the test.
pub(crate) fn allowed(list: &str, test: &str) -> bool {
    entries(list).any(|(name, _)| name == test)
}

/// Each entry of the list: test, reason.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
}
