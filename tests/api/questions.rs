//! NextQuery.

use std::collections::HashSet;

use pref::service::proto::*;
use tonic::Code;

use crate::app::{answer, from_pool, refusal, request_id};
use crate::on_both_stores;

on_both_stores! {
    async fn a_question_is_stored_before_it_is_answered_with_and_makes_the_user(app) {
        app.import_topics().await;
        let reply = app.next_query(from_pool("ada", "topics")).await.unwrap();
        let [query] = reply.queries.as_slice() else { panic!("one question") };
        assert!(query.information_gain > 0.02 && query.information_gain <= 1.0, "{}", query.information_gain);
        assert!(query.predicted_preference > 0.0 && query.predicted_preference < 1.0);
        assert_ne!(query.response_a, query.response_b);
        assert_eq!(query.model_version, "test-1");
        assert!(query.expire_time.is_some());

        let profile = reply.profile.unwrap();
        assert_eq!(profile, app.get_user("ada").await.unwrap());
        assert_eq!((profile.revision, profile.answers, profile.converged), (0, 0, false));
        assert_eq!(profile.coefficients, [0.5, 0.0, -0.25, 0.0], "the average user's, since nothing is known");
        assert_eq!(profile.remaining_uncertainty, 1.0);

        let submitted = app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap();
        assert_eq!(submitted.profile.unwrap().answers, 1);
    }
}

on_both_stores! {
    async fn no_pair_is_asked_twice_and_the_last_one_is_said_to_be_the_last(app) {
        app.import_topics().await;
        let mut pairs = HashSet::new();
        for _ in 0..4 * 6 {
            let query = app.ask("ada").await;
            let mut pair = [query.response_a, query.response_b];
            pair.sort();
            assert!(pairs.insert((query.prompt, pair)), "asked twice");
        }
        let refused = refusal(app.next_query(from_pool("ada", "topics")).await);
        assert_eq!(refused, (Code::FailedPrecondition, "NO_QUESTION_LEFT".to_owned()));
        assert_eq!(app.ask("bob").await.model_version, "test-1", "another user's questions are their own");
    }
}

on_both_stores! {
    async fn several_questions_at_once_are_of_different_prompts(app) {
        app.import_topics().await;
        let request = NextQueryRequest { count: 4, ..from_pool("ada", "topics") };
        let reply = app.next_query(request).await.unwrap();
        let prompts: HashSet<_> = reply.queries.iter().map(|query| &query.prompt).collect();
        assert_eq!((reply.queries.len(), prompts.len()), (4, 4));
        let request = NextQueryRequest { count: 100, ..from_pool("bob", "topics") };
        assert_eq!(app.next_query(request).await.unwrap().queries.len(), 4 * 6, "as many as there are");
    }
}

on_both_stores! {
    async fn responses_of_the_callers_own_are_asked_about(app) {
        let candidates = |responses: &[&str]| NextQueryRequest {
            user_id: "ada".to_owned(),
            source: Some(next_query_request::Source::Candidates(Candidates {
                prompt: "On salt:".to_owned(),
                responses: responses.iter().map(|&response| response.to_owned()).collect(),
            })),
            ..Default::default()
        };
        let query = app.next_query(candidates(&["One.", "A much longer one.", "One."])).await.unwrap().queries.remove(0);
        let mut asked = [query.response_a.as_str(), query.response_b.as_str()];
        asked.sort_unstable();
        assert_eq!(asked, ["A much longer one.", "One."]);
        let refused = refusal(app.next_query(candidates(&["A much longer one.", "One."])).await);
        assert_eq!(refused.1, "NO_QUESTION_LEFT", "the pair is open, whichever way round");
    }
}

on_both_stores! {
    async fn every_strategy_asks_something_and_which_response_is_a_is_drawn(app) {
        app.import_topics().await;
        for strategy in 1..=4 {
            let request = NextQueryRequest { strategy, ..from_pool("ada", "topics") };
            assert_eq!(app.next_query(request).await.unwrap().queries.len(), 1);
        }
        let request = NextQueryRequest { count: 24, ..from_pool("bob", "topics") };
        let queries = app.next_query(request).await.unwrap().queries;
        let in_order = queries.iter().filter(|query| query.response_a < query.response_b).count();
        assert!((1..24).contains(&in_order), "{in_order} of 24");
    }
}

on_both_stores! {
    async fn a_repeat_gets_the_first_reply_and_an_id_belongs_to_one_body(app) {
        app.import_topics().await;
        let request = NextQueryRequest { request_id: request_id(), ..from_pool("ada", "topics") };
        let first = app.next_query(request.clone()).await.unwrap();
        assert_eq!(app.next_query(request.clone()).await.unwrap(), first);
        let other = NextQueryRequest { count: 2, ..request.clone() };
        assert_eq!(refusal(app.next_query(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
        let others = NextQueryRequest { user_id: "bob".to_owned(), ..request };
        assert_ne!(app.next_query(others).await.unwrap().queries, first.queries, "ids are scoped by user");
    }
}

on_both_stores! {
    async fn a_pool_that_grows_is_asked_about_at_once(app) {
        let text = |words: &str| words.to_owned();
        app.import(vec![crate::app::row("p", "x", &[text("a"), text("b c d")])]).await.unwrap();
        app.next_query(from_pool("ada", "p")).await.unwrap();
        assert_eq!(refusal(app.next_query(from_pool("ada", "p")).await).1, "NO_QUESTION_LEFT");
        app.import(vec![crate::app::row("p", "x", &[text("a much longer response than those")])]).await.unwrap();
        let query = app.next_query(from_pool("ada", "p")).await.unwrap().queries.remove(0);
        assert!(query.response_a.len() > 6 || query.response_b.len() > 6);
    }
}
