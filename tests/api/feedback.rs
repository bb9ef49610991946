//! Comparisons of what /v1/chat/completions returned.

use std::time::Duration;

use pref::domain::Scope;
use pref::service::proto::*;
use serde_json::{Value, json};
use tonic::Code;

use crate::app::{PROMPTS, TestApp, judge, refusal, request_id};
use crate::edge::{call, edge, json_of};
use crate::identity::guarded;
use crate::on_both_stores;
use crate::tokens::Issuer;

/// A client of the edge's.
struct Chat {
    url: String,
    authorization: Option<String>,
}

impl Chat {
    async fn with(app: &TestApp) -> Self {
        Self { url: edge(app, |_| {}).await, authorization: None }
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let headers: Vec<_> = self.authorization.iter().map(|key| ("authorization", key.as_str())).collect();
        json_of(call("POST", format!("{}{path}", self.url), &headers, Some(body)).await).await
    }

    /// Two choices of an answer to the prompt; its id, and their texts.
    async fn completion(&self, user: &str, prompt: &str) -> (String, [String; 2]) {
        let body =
            json!({"model": "pref", "user": user, "n": 2, "messages": [{"role": "user", "content": prompt}]});
        let (status, reply) = self.post("/v1/chat/completions", body).await;
        assert_eq!(status, 200, "{reply}");
        let text =
            |choice: usize| reply["choices"][choice]["message"]["content"].as_str().unwrap().to_owned();
        (reply["id"].as_str().unwrap().to_owned(), [text(0), text(1)])
    }

    async fn feedback(&self, body: Value) -> (u16, Value) {
        self.post("/v1/feedback", body).await
    }
}

/// Who refuses, why, and about which field.
fn told((status, reply): (u16, Value)) -> (u16, String, Option<String>) {
    let word = |name: &str| reply["error"][name].as_str().map(str::to_owned);
    (status, word("code").unwrap_or_else(|| panic!("an error: {reply}")), word("param"))
}

on_both_stores! {
    async fn two_choices_that_were_returned_are_an_answer_as_any_other(app) {
        app.import_topics().await;
        let chat = Chat::with(app).await;
        let (id, [best, second]) = chat.completion("ada", PROMPTS[0]).await;
        let body = json!({
            "user": "ada", "chosen": {"id": id, "index": 1}, "rejected": {"id": id, "index": 0}, "weight": 2,
            "request_id": request_id(),
        });
        let (status, reply) = chat.feedback(body.clone()).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!((&reply["object"], &reply["user"]), (&"pref.feedback".into(), &"ada".into()));
        assert_eq!((&reply["answers"], &reply["revision"]), (&1.into(), &1.into()));

        let answer = SubmitPreferenceRequest { weight: Some(2.0), ..judge("bob", (PROMPTS[0], &second, &best), Outcome::First) };
        app.submit(answer).await.unwrap();
        let (ada, bob) = (app.get_user("ada").await.unwrap(), app.get_user("bob").await.unwrap());
        assert_eq!((ada.coefficients, ada.standard_errors), (bob.coefficients, bob.standard_errors));
        let log = app.list_preferences("ada").await.unwrap();
        assert_eq!(reply["preference_id"], log[0].preference_id.as_str());
        assert_eq!((log[0].outcome(), log[0].comparison.as_ref().unwrap().response_a.as_str()), (Outcome::First, second.as_str()));

        assert_eq!(chat.feedback(body.clone()).await, (200, reply.clone()), "a retry gets the first reply");
        assert_eq!(app.get_user("ada").await.unwrap().revision, 1);
        let mut other = body.clone();
        other["weight"] = 1.into();
        assert_eq!(told(chat.feedback(other.clone()).await), (409, "REQUEST_ID_REUSED".to_owned(), None));

        let lifetime = app.engine.config().completion_lifetime.as_millis() as i64;
        assert_eq!(app.engine.store().sweep(app.engine.now() + 2 * lifetime).await.unwrap().choices, 2);
        assert_eq!(chat.feedback(body.clone()).await, (200, reply), "the answer is kept for good, and so is its reply");
        let fresh = json!({ "user": "ada", "chosen": body["chosen"], "rejected": body["rejected"], "request_id": request_id() });
        assert_eq!(told(chat.feedback(fresh).await).1, "COMPLETION_NOT_FOUND");
        assert_eq!(told(chat.feedback(other).await), (409, "REQUEST_ID_REUSED".to_owned(), None));
    }
}

on_both_stores! {
    async fn an_answer_that_was_written_again_is_compared_with_the_first(app) {
        app.import_topics().await;
        let chat = Chat::with(app).await;
        let (first, texts) = chat.completion("ada", PROMPTS[1]).await;
        let (again, same) = chat.completion("ada", PROMPTS[1]).await;
        assert_eq!(texts, same);
        let compared = |chosen: usize, rejected: usize, outcome: Value| json!({
            "user": "ada", "outcome": outcome,
            "chosen": {"id": first, "index": chosen}, "rejected": {"id": again, "index": rejected},
        });
        for (outcome, answers) in [(Value::Null, 1), ("tie".into(), 2), ("neither".into(), 2), ("skip".into(), 2)] {
            let (status, reply) = chat.feedback(compared(0, 1, outcome)).await;
            assert_eq!((status, &reply["answers"]), (200, &answers.into()), "{reply}");
        }
        let outcomes: Vec<_> = app.list_preferences("ada").await.unwrap().iter().map(Preference::outcome).collect();
        assert_eq!(outcomes, [Outcome::First, Outcome::Tie, Outcome::Neither, Outcome::Skip]);
        let equal = told(chat.feedback(compared(1, 1, Value::Null)).await);
        assert_eq!(equal, (400, "INVALID_FIELD".to_owned(), Some("rejected".to_owned())));
    }
}

on_both_stores! {
    async fn what_cannot_be_compared_is_refused_by_field(app) {
        app.import_topics().await;
        let chat = Chat::with(app).await;
        let (id, _) = chat.completion("ada", PROMPTS[0]).await;
        let (other, _) = chat.completion("ada", PROMPTS[1]).await;
        let good = json!({"user": "ada", "chosen": {"id": id}, "rejected": {"id": id, "index": 1}});
        let but = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body
        };
        for (body, field) in [
            (but("user", Value::Null), "user"),
            (but("chosen", json!({"id": "7"})), "chosen.id"),
            (but("rejected", json!({"id": id})), "rejected"),
            (but("rejected", json!({"id": other, "index": 1})), "rejected"),
            (but("rejected", json!({"id": id, "index": -1})), "body"),
            (but("outcome", "first".into()), "outcome"),
            (but("weight", 0.into()), "weight"),
            (but("request_id", "7".into()), "request_id"),
            (but("thumb", "up".into()), "body"),
        ] {
            let expected = (400, "INVALID_FIELD".to_owned(), Some(field.to_owned()));
            assert_eq!(told(chat.feedback(body.clone()).await), expected, "{body}");
        }
        let unknown = "chatcmpl-00000000000000000000000000000000";
        for body in [
            but("user", "bob".into()),
            but("chosen", json!({"id": id, "index": 2})),
            but("chosen", json!({"id": unknown})),
        ] {
            assert_eq!(told(chat.feedback(body).await), (404, "COMPLETION_NOT_FOUND".to_owned(), None));
        }
        assert_eq!(app.list_users(0, "").await.unwrap().users, [], "nobody was made");
    }
}

on_both_stores! {
    async fn what_a_person_was_given_is_exported_and_erased(app) {
        use export_user_response::Item;
        app.import_topics().await;
        let chat = Chat::with(app).await;
        let (id, texts) = chat.completion("ada", PROMPTS[0]).await;
        assert_eq!(refusal(app.get_user("ada").await).1, "USER_NOT_FOUND", "reading makes nobody");
        let items = app.export("ada").await.unwrap();
        let given: Vec<_> = items.iter().map(|item| match item {
            Item::Choice(choice) => (choice.completion_id.as_str(), choice.index, choice.prompt.as_str(), choice.text.as_str()),
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(given, [(id.as_str(), 0, PROMPTS[0], texts[0].as_str()), (id.as_str(), 1, PROMPTS[0], texts[1].as_str())]);

        app.delete_user("ada").await.unwrap();
        assert_eq!(refusal(app.export("ada").await), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
        let late = json!({"user": "ada", "chosen": {"id": id}, "rejected": {"id": id, "index": 1}});
        assert_eq!(told(chat.feedback(late).await), (404, "USER_ERASED".to_owned(), None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_to_keep_no_completions_keeps_none() {
    let app = TestApp::configured(|engine, _| engine.completion_lifetime = Duration::ZERO).await;
    app.import_topics().await;
    let chat = Chat::with(&app).await;
    let (id, _) = chat.completion("ada", PROMPTS[0]).await;
    let body = json!({"user": "ada", "chosen": {"id": id}, "rejected": {"id": id, "index": 1}});
    assert_eq!(told(chat.feedback(body).await), (404, "COMPLETION_NOT_FOUND".to_owned(), None));
    assert_eq!(refusal(app.export("ada").await).1, "USER_NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_has_a_scope_and_a_person() {
    let issuer = Issuer::new();
    let app = TestApp::configured(guarded).await;
    app.holder("default").await.import_topics().await;
    let access = issuer.access().await;
    let url = edge(&app, |config| config.access = access).await;
    let caller =
        |authorization: &str| Chat { url: url.clone(), authorization: Some(authorization.to_owned()) };
    let (_, key) = app.key("default", [Scope::Generate]).await;
    let chat = caller(&key);
    let (id, _) = chat.completion("ada", PROMPTS[0]).await;
    let body = |user: Value| json!({"user": user, "chosen": {"id": id}, "rejected": {"id": id, "index": 1}});
    assert_eq!(told(chat.feedback(body("ada".into())).await), (403, "SCOPE_MISSING".to_owned(), None));

    let bound = |name: &str| caller(&issuer.token(json!({ "pref_user": name, "scope": "feedback" })));
    let (status, reply) = bound("bob").feedback(body("ada".into())).await;
    assert!(reply["error"]["message"].as_str().unwrap().starts_with("user: got another person"), "{reply}");
    assert_eq!(told((status, reply)), (403, "USER_MISMATCH".to_owned(), None));
    assert_eq!(told(bound("bob").feedback(body(Value::Null)).await).1, "COMPLETION_NOT_FOUND");
    assert_eq!(bound("ada").feedback(body(Value::Null)).await.0, 200);
    // Another tenant's key finds neither model nor completion.
    let (_, other) = app.key("other", Scope::ALL).await;
    assert_eq!(told(caller(&other).feedback(body("ada".into())).await).1, "NO_ACTIVE_MODEL");
    app.stop().await;
}
