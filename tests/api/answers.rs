//! SubmitPreference, ListPreferences, DeletePreference.

use pref::service::proto::*;
use tonic::Code;

use crate::app::{answer, judge, refusal, request_id};
use crate::on_both_stores;

const LONG: (&str, &str, &str) = ("x", "Many more words than there have to be in one.", "Few.");
const SHORT: (&str, &str, &str) = ("x", "Few.", "Many more words than there have to be in one.");

on_both_stores! {
    async fn an_answer_moves_the_user_and_the_order_of_the_responses_does_not_matter(app) {
        let ada = app.submit(judge("ada", LONG, Outcome::First)).await.unwrap().profile.unwrap();
        let bob = app.submit(judge("bob", SHORT, Outcome::Second)).await.unwrap().profile.unwrap();
        assert!(ada.coefficients[0] > 0.5, "{:?}: likes length more than the average user", ada.coefficients);
        for (ada, bob) in ada.coefficients.iter().zip(&bob.coefficients) {
            assert!((ada - bob).abs() < 1e-9, "{ada} {bob}");
        }
        assert!(ada.remaining_uncertainty < 1.0);
        assert!(ada.standard_errors.iter().all(|error| (0.0..=1.0).contains(error)));
        assert_eq!((ada.answers, ada.revision), (1, 1));
    }
}

on_both_stores! {
    async fn all_five_outcomes_are_logged_and_three_of_them_count(app) {
        for (index, outcome) in [Outcome::First, Outcome::Second, Outcome::Tie, Outcome::Neither, Outcome::Skip]
            .into_iter()
            .enumerate()
        {
            let profile = app.submit(judge("ada", LONG, outcome)).await.unwrap().profile.unwrap();
            assert_eq!((profile.revision, profile.answers), (index as u64 + 1, (index as u64 + 1).min(3)));
        }
        let log = app.list_preferences("ada").await.unwrap();
        let outcomes: Vec<_> = log.iter().map(|line| line.outcome).collect();
        assert_eq!(outcomes, [1, 2, 3, 4, 5]);
        assert_eq!(log[0].comparison.as_ref().unwrap().response_b, LONG.2);
        assert_eq!((log[0].weight, log[4].revision), (1.0, 5));
    }
}

on_both_stores! {
    async fn a_heavier_answer_and_a_decided_one_say_more(app) {
        let light = app.submit(judge("ada", LONG, Outcome::First)).await.unwrap().profile.unwrap();
        let request = SubmitPreferenceRequest { weight: Some(10.0), ..judge("bob", LONG, Outcome::First) };
        let heavy = app.submit(request).await.unwrap().profile.unwrap();
        let tie = app.submit(judge("eve", LONG, Outcome::Tie)).await.unwrap().profile.unwrap();
        assert!(heavy.coefficients[0] > light.coefficients[0]);
        assert!(tie.coefficients[0] < light.coefficients[0]);
        assert!(heavy.remaining_uncertainty < light.remaining_uncertainty);
        assert!(light.remaining_uncertainty < tie.remaining_uncertainty);
    }
}

on_both_stores! {
    async fn a_question_is_answered_once(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        let first = app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap();
        assert_eq!(app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap(), first);
        let other = app.submit(answer("ada", &query.query_id, Outcome::Second)).await;
        assert_eq!(refusal(other), (Code::FailedPrecondition, "QUERY_ALREADY_ANSWERED".to_owned()));
        assert_eq!(app.get_user("ada").await.unwrap().revision, 1);
        let log = app.list_preferences("ada").await.unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!((&log[0].query_id, &log[0].preference_id), (&query.query_id, &first.preference_id));
    }
}

on_both_stores! {
    async fn a_late_repeat_of_a_second_click_does_not_bring_back_what_was_undone(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        let clicked = answer("ada", &query.query_id, Outcome::First);
        let first = app.submit(clicked.clone()).await.unwrap();
        let again = SubmitPreferenceRequest { request_id: request_id(), ..clicked };
        assert_eq!(app.submit(again.clone()).await.unwrap(), first);
        let undone = app.delete_preference("ada", &first.preference_id).await.unwrap();
        assert_eq!(app.submit(again.clone()).await.unwrap(), first);
        assert_eq!(app.get_user("ada").await.unwrap(), undone);
        app.submit(answer("ada", &query.query_id, Outcome::Second)).await.unwrap();
        assert_eq!(app.submit(again).await.unwrap(), first);
        assert_eq!(app.list_preferences("ada").await.unwrap().len(), 1);
    }
}

on_both_stores! {
    async fn a_question_belongs_to_one_user(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        let foreign = app.submit(answer("bob", &query.query_id, Outcome::First)).await;
        assert_eq!(refusal(foreign), (Code::NotFound, "QUERY_NOT_FOUND".to_owned()));
        assert_eq!(refusal(app.get_user("bob").await).1, "USER_NOT_FOUND", "a refusal makes nobody");
        let unknown = app.submit(answer("ada", &request_id(), Outcome::First)).await;
        assert_eq!(refusal(unknown), (Code::NotFound, "QUERY_NOT_FOUND".to_owned()));
    }
}

on_both_stores! {
    async fn a_repeat_gets_the_first_reply_and_an_id_belongs_to_one_body(app) {
        let request = SubmitPreferenceRequest { request_id: request_id(), ..judge("ada", LONG, Outcome::First) };
        let first = app.submit(request.clone()).await.unwrap();
        app.submit(judge("ada", SHORT, Outcome::First)).await.unwrap();
        assert_eq!(app.submit(request.clone()).await.unwrap(), first);
        let other = SubmitPreferenceRequest { outcome: Outcome::Tie.into(), ..request };
        assert_eq!(refusal(app.submit(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
        assert_eq!(app.get_user("ada").await.unwrap().revision, 2);
    }
}

on_both_stores! {
    async fn undoing_an_answer_is_never_having_given_it(app) {
        let other = ("y", "One two three. Four five six.", "Incontrovertible terminology.");
        for (user, comparisons) in [("ada", vec![LONG, other]), ("bob", vec![other])] {
            for comparison in comparisons {
                app.submit(judge(user, comparison, Outcome::First)).await.unwrap();
            }
        }
        let log = app.list_preferences("ada").await.unwrap();
        let undone = app.delete_preference("ada", &log[0].preference_id).await.unwrap();
        let bob = app.get_user("bob").await.unwrap();
        assert_eq!(undone.coefficients, bob.coefficients);
        assert_eq!(undone.standard_errors, bob.standard_errors);
        assert_eq!((undone.answers, undone.revision), (1, 3), "the log goes on");
        assert_eq!(app.get_user("ada").await.unwrap(), undone);
        assert_eq!(app.list_preferences("ada").await.unwrap(), log[1..]);

        assert_eq!(app.delete_preference("ada", &log[0].preference_id).await.unwrap(), undone, "twice is once");
        let unknown = app.delete_preference("ada", &request_id()).await;
        assert_eq!(refusal(unknown), (Code::NotFound, "PREFERENCE_NOT_FOUND".to_owned()));
        let foreign = app.delete_preference("bob", &log[1].preference_id).await;
        assert_eq!(refusal(foreign), (Code::NotFound, "PREFERENCE_NOT_FOUND".to_owned()));
    }
}

on_both_stores! {
    async fn undoing_the_only_answer_gives_the_average_user(app) {
        let submitted = app.submit(judge("ada", LONG, Outcome::First)).await.unwrap();
        let undone = app.delete_preference("ada", &submitted.preference_id).await.unwrap();
        assert_eq!(undone.coefficients, [0.5, 0.0, -0.25, 0.0]);
        assert_eq!((undone.answers, undone.revision, undone.remaining_uncertainty), (0, 2, 1.0));
    }
}

on_both_stores! {
    async fn a_repeated_undo_gets_the_first_reply(app) {
        let submitted = app.submit(judge("ada", LONG, Outcome::First)).await.unwrap();
        let request = DeletePreferenceRequest {
            user_id: "ada".to_owned(),
            preference_id: submitted.preference_id,
            request_id: request_id(),
        };
        let first = app.personalization().delete_preference(request.clone()).await.unwrap().into_inner();
        app.submit(judge("ada", SHORT, Outcome::First)).await.unwrap();
        assert_eq!(app.personalization().delete_preference(request).await.unwrap().into_inner(), first);
    }
}

on_both_stores! {
    async fn the_log_comes_in_pages(app) {
        for _ in 0..5 {
            app.submit(judge("ada", LONG, Outcome::First)).await.unwrap();
        }
        let (mut revisions, mut page_token) = (Vec::new(), String::new());
        for page in 1.. {
            let request = ListPreferencesRequest { user_id: "ada".to_owned(), page_size: 2, page_token };
            let reply = app.personalization().list_preferences(request).await.unwrap().into_inner();
            revisions.extend(reply.preferences.iter().map(|line| line.revision));
            page_token = reply.next_page_token;
            if page_token.is_empty() {
                assert_eq!(page, 3);
                break;
            }
        }
        assert_eq!(revisions, [1, 2, 3, 4, 5]);
    }
}
