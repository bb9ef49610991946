//! Calls that race.

use std::collections::HashSet;

use futures::future::join_all;
use pref::service::proto::*;
use tonic::Code;

use crate::app::{answer, from_pool, judge, refusal, request_id};
use crate::on_both_stores;

const PARALLEL: usize = 24;

fn comparison(index: usize) -> (String, String) {
    (format!("{} and so on.", "word ".repeat(index + 1)), format!("Incontrovertible {index}."))
}

on_both_stores! {
    async fn answers_given_at_once_all_count_and_end_in_the_serial_fit(app) {
        let submit = async |user: &str, index: usize| {
            let (a, b) = comparison(index);
            let outcome = if index.is_multiple_of(3) { Outcome::Second } else { Outcome::First };
            app.submit(judge(user, ("x", &a, &b), outcome)).await.unwrap().profile.unwrap()
        };
        let profiles = join_all((0..PARALLEL).map(|index| submit("ada", index))).await;
        for index in 0..PARALLEL {
            submit("bob", index).await;
        }
        let revisions: HashSet<_> = profiles.iter().map(|profile| profile.revision).collect();
        assert_eq!(revisions, (1..=PARALLEL as u64).collect(), "each answer has a revision of its own");

        let (ada, bob) = (app.get_user("ada").await.unwrap(), app.get_user("bob").await.unwrap());
        assert_eq!((ada.answers, ada.revision), (bob.answers, bob.revision));
        for (one, other) in ada.coefficients.iter().zip(&bob.coefficients) {
            assert!((one - other).abs() < 1e-9, "{one} {other}: the order of the log does not matter");
        }
    }
}

on_both_stores! {
    async fn one_call_sent_many_times_at_once_counts_once(app) {
        let request = SubmitPreferenceRequest {
            request_id: request_id(),
            ..judge("ada", ("x", "a b c", "d"), Outcome::First)
        };
        let replies = join_all((0..PARALLEL).map(|_| app.submit(request.clone()))).await;
        let first = replies[0].as_ref().unwrap();
        assert!(replies.iter().all(|reply| reply.as_ref().unwrap() == first));
        assert_eq!(app.get_user("ada").await.unwrap().revision, 1);
    }
}

on_both_stores! {
    async fn one_question_answered_both_ways_at_once_has_one_answer(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        let outcomes = (0..PARALLEL).map(|index| if index % 2 == 0 { Outcome::First } else { Outcome::Second });
        let replies = join_all(outcomes.map(|outcome| app.submit(answer("ada", &query.query_id, outcome)))).await;
        let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (PARALLEL / 2, PARALLEL / 2));
        assert!(won.iter().all(|reply| reply.as_ref().unwrap() == won[0].as_ref().unwrap()));
        for reply in lost {
            assert_eq!(refusal(reply), (Code::FailedPrecondition, "QUERY_ALREADY_ANSWERED".to_owned()));
        }
        assert_eq!(app.get_user("ada").await.unwrap().revision, 1);
    }
}

on_both_stores! {
    async fn questions_asked_at_once_are_all_different(app) {
        app.import_topics().await;
        let replies = join_all((0..PARALLEL).map(|_| app.next_query(from_pool("ada", "topics")))).await;
        let mut pairs = HashSet::new();
        for reply in replies {
            for query in reply.unwrap().queries {
                let mut pair = [query.response_a, query.response_b];
                pair.sort();
                assert!(pairs.insert((query.prompt, pair)));
            }
        }
        assert_eq!(pairs.len(), PARALLEL);
    }
}
