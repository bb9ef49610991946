//! Keeps the table of rooms true: who may import whom, what lies at the top, what each room says of itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module of the library, and the ones that it may import (docs/ARCHITECTURE.md).
const ROOMS: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("math", &[]),
    ("model", &["domain", "math"]),
    ("generate", &["domain", "math", "model"]),
    ("train", &["domain", "math", "model", "generate"]),
    ("evaluate", &["domain", "math", "model", "generate", "train"]),
    ("store", &["domain"]),
    ("engine", &["domain", "math", "model", "generate", "train", "evaluate", "store"]),
    ("config", &["domain", "model", "store", "engine", "service", "telemetry"]),
    ("telemetry", &[]),
    ("service", &["domain", "engine"]),
    (
        "cli",
        &[
            "domain",
            "math",
            "model",
            "generate",
            "train",
            "evaluate",
            "store",
            "engine",
            "config",
            "telemetry",
            "service",
        ],
    ),
];

/// What may lie at the top of the repository.
const TOP: [&str; 20] = [
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "benches",
    "build.rs",
    "clients",
    "deploy",
    "docs",
    "migrations",
    "proto",
    "rustfmt.toml",
    "src",
    "tests",
];

/// The packages that the project is built on, as they are named in code.
const PACKAGES: [&str; 10] = [
    "candle_core",
    "candle_transformers",
    "nalgebra",
    "prost",
    "sqlx",
    "tokenizers",
    "tokio",
    "tonic",
    "tower",
    "tracing",
];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for file in sources() {
        let room = room_of(&file);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            assert!(["lib", "main"].contains(&room.as_str()), "{room} is missing from ROOMS");
            continue;
        };
        let tokens = tokens(&std::fs::read_to_string(source_root().join(&file)).unwrap());
        for import in imports(&tokens, modules_above(&file)) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == import);
            if is_room && import != room && !allowed.contains(&import.as_str()) {
                broken.push(format!("{}: {room} may not import {import}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_room_says_what_it_leaves_to_others() {
    for (room, _) in ROOMS {
        let (folder, file) = (format!("{room}/mod.rs"), format!("{room}.rs"));
        let path =
            [folder, file].into_iter().map(|name| source_root().join(name)).find(|path| path.is_file());
        let source = std::fs::read_to_string(path.unwrap_or_else(|| panic!("{room} has no file"))).unwrap();
        let header: String =
            source.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join(" ");
        assert!(
            ["never", "no ", "nothing", "alone"].iter().any(|word| header.to_lowercase().contains(word)),
            "{room}: say in its header what is deliberately absent"
        );
    }
}

#[test]
fn nothing_unexpected_lies_at_the_top() {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("git is what the clone came with");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let top: BTreeSet<&str> =
        listed.split_terminator('\0').filter_map(|path| path.split('/').next()).collect();
    let unexpected: Vec<_> = top.iter().filter(|name| !TOP.contains(name)).collect();
    assert!(unexpected.is_empty(), "not in the list of what lies at the top: {unexpected:?}");
}

#[test]
fn every_package_of_the_foundation_is_used() {
    let used: BTreeSet<String> = sources()
        .iter()
        .flat_map(|file| tokens(&std::fs::read_to_string(source_root().join(file)).unwrap()))
        .collect();
    // The messages that `include_proto!` brings in are prost's.
    let is_used =
        |package: &str| used.contains(package) || (package == "prost" && used.contains("include_proto"));
    let unused: Vec<_> = PACKAGES.iter().filter(|package| !is_used(package)).collect();
    assert!(unused.is_empty(), "in Cargo.toml, not in src: {unused:?}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let found = |source: &str, above: usize| imports(&tokens(source), above).into_iter().collect::<Vec<_>>();
    assert_eq!(found("use crate::math::Prior;", 1), ["math"]);
    assert_eq!(
        found("use crate::{math::{self, Prior}, store, model::{a, b}};", 1),
        ["math", "model", "store"]
    );
    assert_eq!(found("let p = crate::engine::Engine::new(pref::cli::run());", 1), ["cli", "engine"]);
    assert_eq!(found("use super::service::Edge; use super::super::cli;", 1), ["cli", "service"]);
    assert_eq!(found("use super::questions;", 2), Vec::<String>::new());
    assert_eq!(found("mod tests { use super::*; use super::super::store::Store; }", 1), ["store"]);
    assert_eq!(found("// crate::cli\n/* crate::store */ let s = \"crate::math\"; let c = '\"';", 1), [""; 0]);
    assert_eq!(found("let s = r#\"crate::math \" \"#; f::<'a>(crate::model::X)", 1), ["model"]);
}

/// Names directly below the crate's root that the tokens mention, by `crate::`, `pref::` or enough `super::`.
/// `above` is how many modules lie between the file and the root, 1 for a room's `mod.rs`.
fn imports(tokens: &[String], above: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // One entry for each open brace: whether it opened an inline module.
    let mut braces: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => braces.push(i >= 2 && tokens[i - 2] == "mod"),
            "}" => drop(braces.pop()),
            "crate" | "pref" if next_is_path(tokens, i) => names_after(tokens, i + 3, &mut found),
            "super" if next_is_path(tokens, i) => {
                let depth = above + braces.iter().filter(|inline_module| **inline_module).count();
                let mut ups = 0;
                while tokens.get(i).is_some_and(|token| token == "super") && next_is_path(tokens, i) {
                    ups += 1;
                    i += 3;
                }
                if ups >= depth {
                    names_after(tokens, i, &mut found);
                }
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

fn next_is_path(tokens: &[String], i: usize) -> bool {
    tokens.get(i + 1).is_some_and(|token| token == ":") && tokens.get(i + 2).is_some_and(|token| token == ":")
}

/// Adds the first name of each path of the group that starts at `i`, or the one name there.
fn names_after(tokens: &[String], i: usize, found: &mut BTreeSet<String>) {
    let is_name = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut depth = 0;
    for (k, token) in tokens.iter().enumerate().skip(i) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if is_name(name)
                && (depth == 0 || (depth == 1 && ["{", ","].contains(&tokens[k - 1].as_str()))) =>
            {
                found.insert(name.to_owned());
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
}

/// Identifiers and punctuation of Rust source, without comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if c == '"' {
            string(rest)
        } else if c == '\'' {
            character_or_lifetime(rest)
        } else if c.is_alphanumeric() || c == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn raw_string(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let opening = rest.len() - body.len();
    Some(body.find(&close).map_or(rest.len(), |end| opening + end + close.len()))
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            rest[escaped + 1..].find('\'').map_or(rest.len(), |end| escaped + end + 2)
        }
        (Some(_), Some((close, '\''))) => close + 1,
        _ => 1,
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first part of a path below src/, without its ending.
fn room_of(file: &Path) -> String {
    file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// How many modules lie between what is written in a file and the crate's root.
fn modules_above(file: &Path) -> usize {
    file.iter().count() - usize::from(file.ends_with("mod.rs"))
}

/// Every Rust file below src/, by its path from there.
fn sources() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![source_root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(source_root()).unwrap().to_owned());
            }
        }
    }
    files
}
