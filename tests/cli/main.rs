//! The real binary on the command line: what it prints, what it refuses, and its exit codes.

mod causal;
mod describe;
mod evaluate;
mod generation;
mod refusals;
mod train;
mod tune;

#[path = "../support/skip.rs"]
mod skip;

#[path = "../support/made_decoder.rs"]
mod made_decoder;

#[path = "../support/shared_model.rs"]
mod shared_model;

use std::path::Path;
use std::process::{Command, Output};

/// `pref` without the settings of whoever runs the tests.
pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pref"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PREF_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs `pref` to its end.
pub(crate) fn pref<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    command(arguments).output().expect("the binary starts")
}

/// Standard output of a run that must succeed.
pub(crate) fn succeeds<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> String {
    let output = pref(arguments);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    out
}

/// Standard error of a run that must fail, and say nothing on standard output.
pub(crate) fn fails<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> String {
    let output = pref(arguments);
    let (out, err) = texts(&output);
    assert!(!output.status.success(), "{out}");
    assert_eq!(out, "", "{err}");
    err
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the command line speaks UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
