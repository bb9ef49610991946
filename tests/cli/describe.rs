//! `pref describe --labels-from`, against an HTTP server of the test's own that speaks the chat protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::train::{judgments, train, write};
use crate::{command, fails, succeeds, text};

/// What a caller sent: the request line and headers, and the body.
type Request = (String, Value);

/// Replies to every request with this status and body, and hands on what was asked.
pub(crate) fn language_model(status: &'static str, body: Value) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned)
            });
            let mut content = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
            stream.read_exact(&mut content).unwrap();
            let reply = body.to_string();
            let length = reply.len();
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{reply}"
            )
            .unwrap();
            if sender.send((head, serde_json::from_slice(&content).unwrap())).is_err() {
                break;
            }
        }
    });
    (address, asked)
}

#[test]
fn a_language_model_is_shown_both_ends_and_its_words_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = write(&folder, "data.jsonl", &judgments(12));
    let model = folder.path().join("model");
    train(&data, &model, &[]);
    let before = succeeds(&["describe", "--model", text(&model)]);
    let choice = json!({"message": {"role": "assistant", "content": "\"Long, patient explanations.\"\n"}});
    let (url, asked) = language_model("200 OK", json!({"choices": [choice]}));
    let from = format!("openai:{url}");
    let label = ["describe", "--model", text(&model), "--labels-from", &from, "--label-model", "tiny"];
    let output = command(&label).env("OPENAI_API_KEY", "secret").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("+ Long and patient explanations"), "{printed}");
    let requests: Vec<Request> = (0..2).map(|_| asked.recv().unwrap()).collect();
    for (head, body) in &requests {
        assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
        assert!(head.to_ascii_lowercase().contains("authorization: bearer secret"), "{head}");
        assert_eq!((&body["model"], &body["temperature"]), (&json!("tiny"), &json!(0.0)));
        let question = body["messages"][1]["content"].as_str().unwrap();
        let (top, bottom) = question.split_once("Group B").unwrap();
        assert!(top.contains("Group A") && top.contains("Tell me about topic"), "{question}");
        assert_ne!(top.lines().nth(2), bottom.lines().nth(2));
    }
    assert_eq!(succeeds(&["describe", "--model", text(&model)]), before, "nothing is kept unless asked for");

    let kept = [&label[..], &["--save"]].concat();
    succeeds(&kept);
    let described: Value =
        serde_json::from_str(&succeeds(&["describe", "--model", text(&model), "--json"])).unwrap();
    assert_eq!(described["base_functions"][1]["label"], "+ Long and patient explanations");
}

#[test]
fn a_language_model_that_refuses_or_is_not_there_is_named_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let data = write(&folder, "data.jsonl", &judgments(12));
    let model = folder.path().join("model");
    train(&data, &model, &[]);
    let label = |from: &str| fails(&["describe", "--model", text(&model), "--labels-from", from]);
    let (url, _asked) = language_model("401 Unauthorized", json!({"error": "no such key"}));
    let error = label(&format!("openai:{url}"));
    assert!(error.contains("refused (401)") && error.contains("key") && error.contains(&url), "{error}");
    let (url, _asked) = language_model("200 OK", json!({"choices": []}));
    assert!(label(&format!("openai:{url}")).contains("choices[0].message.content"));
    let error = label("openai:http://127.0.0.1:1/v1");
    assert!(error.contains("http://127.0.0.1:1/v1"), "{error}");
    assert!(label("openai:127.0.0.1:1").contains("allowed: http://"));
    assert!(label("mistral").contains("allowed: openai:URL"));
}
