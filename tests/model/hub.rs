//! Fetching a backbone from a hub: a small server on this machine speaks as much of the hub's protocol as is needed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::shared_model;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "somebody/tiny";

#[test]
fn a_hub_id_is_fetched_once_and_found_in_the_cache_afterwards() {
    let Some(folder) =
        shared_model("a_hub_id_is_fetched_once_and_found_in_the_cache_afterwards", "tiny-random-bert")
    else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let (endpoint, requests) = serve(folder.clone());
    let by_folder = embed(&folder.to_string_lossy(), &endpoint, cache.path());
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let fetched = embed(ID, &endpoint, cache.path());
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_eq!(fetched.stdout, by_folder.stdout);
    let asked = requests.load(Ordering::SeqCst);
    assert!(asked > 0);
    for spec in [ID.to_owned(), format!("{ID}@{COMMIT}")] {
        assert_eq!(embed(&spec, &endpoint, cache.path()).stdout, by_folder.stdout, "{spec}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), asked, "the cache answers");
}

/// `pref embed` of one text, in a process of its own: the endpoint is an environment variable.
fn embed(spec: &str, endpoint: &str, cache: &Path) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pref"))
        .args(["embed", "--device", "cpu", "--backbone", spec])
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"text\": \"A shiny red boat.\"}\n").unwrap();
    child.wait_with_output().unwrap()
}

/// Serves the folder as the repository [`ID`]; returns the endpoint and the count of requests.
fn serve(folder: PathBuf) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            answer(stream, &folder);
        }
    });
    (endpoint, requests)
}

/// One request a connection.
fn answer(mut stream: TcpStream, folder: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    if path == format!("/api/models/{ID}/revision/main") {
        let files =
            ["config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "README.md"];
        let files = files.into_iter().chain(["1_Pooling/config.json", "model.safetensors"]);
        let siblings: Vec<_> = files.map(|file| serde_json::json!({"rfilename": file})).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
        reply(&mut stream, "200 OK", &["content-type: application/json".to_owned()], body.as_bytes());
        return;
    }
    let file = [format!("/{ID}/resolve/main/"), format!("/{ID}/resolve/{COMMIT}/")]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix.as_str()).map(str::to_owned));
    let Some(bytes) = file.as_ref().and_then(|file| fs::read(folder.join(file)).ok()) else {
        reply(&mut stream, "404 Not Found", &[], b"");
        return;
    };
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=").map(str::to_owned));
    let (start, end) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap_or(0);
    let end = end.parse().map_or(bytes.len(), |last: usize| last + 1);
    let headers = [
        format!("x-repo-commit: {COMMIT}"),
        format!("etag: \"{}\"", file.unwrap_or_default().replace('/', "-")),
        format!("content-range: bytes {start}-{}/{}", end - 1, bytes.len()),
    ];
    reply(&mut stream, "206 Partial Content", &headers, &bytes[start..end]);
}

fn reply(stream: &mut TcpStream, status: &str, headers: &[String], body: &[u8]) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // A client that has gone away has its own error.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
