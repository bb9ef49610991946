//! Keeps tests/skips.txt honest: short, reasoned, and about tests that exist.

use std::path::{Path, PathBuf};

#[path = "support/skip.rs"]
mod skip;

const LIST: &str = include_str!("skips.txt");

#[test]
fn every_entry_has_a_reason_and_a_test_that_uses_it() {
    let sources: String = rust_files().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (test, reason) in skip::entries(LIST) {
        assert!(!reason.is_empty(), "{test}: say why it may be skipped");
        assert!(
            sources.contains(&format!("fn {test}(")) && sources.contains(&format!("\"{test}\"")),
            "{test}: no test of this name skips itself; remove the line"
        );
    }
}

#[test]
fn only_the_list_decides() {
    let list = "# comment\n\nhub_download needs the hub\n";
    assert!(skip::allowed(list, "hub_download"));
    assert!(!skip::allowed(list, "hub"));
    assert!(!skip::allowed(list, "# comment"));
    if std::env::var_os("CI").is_some() {
        assert!(std::panic::catch_unwind(|| skip::skip("only_the_list_decides", "to see it fail")).is_err());
    }
}

#[test]
fn nothing_skips_past_the_list() {
    let spelled = ["#[igno", "re"].concat();
    for path in rust_files() {
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(!source.contains(&spelled), "{}: skip at run time, with a reason", path.display());
        assert!(
            path.ends_with("support/skip.rs") || !source.contains("(\"skipped: "),
            "{}: print it through tests/support/skip.rs",
            path.display()
        );
    }
}

fn rust_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut files) = (vec![root.join("src"), root.join("tests")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
