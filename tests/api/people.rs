//! GetUser, ListUsers, DeleteUser, ExportUser: who exists, and who does not any more.

use pref::service::proto::*;
use tonic::Code;

use crate::app::{answer, judge, refusal, request_id};
use crate::on_both_stores;

const COMPARISON: (&str, &str, &str) = ("x", "Many more words than there have to be in one.", "Few.");

on_both_stores! {
    async fn an_unknown_user_is_not_found_and_only_questions_and_answers_make_one(app) {
        app.import_topics().await;
        let not_found = (Code::NotFound, "USER_NOT_FOUND".to_owned());
        assert_eq!(refusal(app.get_user("ada").await), not_found);
        assert_eq!(refusal(app.delete_user("ada").await), not_found);
        assert_eq!(refusal(app.list_preferences("ada").await), not_found);

        let request = ScoreRequest {
            user_id: "ada".to_owned(),
            prompt: "x".to_owned(),
            responses: vec!["Few.".to_owned()],
            ..Default::default()
        };
        assert_eq!(app.score(request).await.unwrap().revision, 0);
        let request = GenerateRequest {
            user_id: "ada".to_owned(),
            prompt: crate::app::PROMPTS[0].to_owned(),
            ..Default::default()
        };
        assert_eq!(app.generate(request).await.unwrap().0.revision, 0);
        assert_eq!(refusal(app.get_user("ada").await), not_found, "reading made nobody");

        app.ask("ada").await;
        app.submit(judge("bob", COMPARISON, Outcome::First)).await.unwrap();
        assert_eq!(app.get_user("ada").await.unwrap().revision, 0);
        assert_eq!(app.get_user("bob").await.unwrap().revision, 1);
        assert_eq!(app.list_preferences("ada").await.unwrap(), []);
    }
}

on_both_stores! {
    async fn people_are_listed_by_name_in_pages(app) {
        for user in ["eve", "ada", "bob"] {
            app.submit(judge(user, COMPARISON, Outcome::First)).await.unwrap();
        }
        let first = app.list_users(2, "").await.unwrap();
        let second = app.list_users(2, &first.next_page_token).await.unwrap();
        let names: Vec<_> = first.users.iter().chain(&second.users).map(|user| user.user_id.as_str()).collect();
        assert_eq!(names, ["ada", "bob", "eve"]);
        assert_eq!((first.users[0].answers, first.users[0].revision), (1, 1));
        assert_eq!(second.next_page_token, "");
    }
}

on_both_stores! {
    async fn an_erased_user_is_gone_and_a_late_retry_does_not_bring_them_back(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        let late = SubmitPreferenceRequest {
            request_id: request_id(),
            ..answer("ada", &query.query_id, Outcome::First)
        };
        app.submit(late.clone()).await.unwrap();
        let own = SubmitPreferenceRequest { request_id: request_id(), ..judge("ada", COMPARISON, Outcome::First) };
        app.submit(own.clone()).await.unwrap();

        app.delete_user("ada").await.unwrap();
        assert_eq!(refusal(app.get_user("ada").await).1, "USER_NOT_FOUND");
        app.delete_user("ada").await.expect("erasing twice is erasing once");
        let erased = (Code::NotFound, "USER_ERASED".to_owned());
        assert_eq!(refusal(app.submit(late).await), erased);
        assert_eq!(refusal(app.submit(own).await), erased);
        assert_eq!(app.list_users(0, "").await.unwrap().users, []);

        let query = app.ask("ada").await;
        let profile = app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap().profile.unwrap();
        assert_eq!((profile.revision, profile.answers), (1, 1), "whoever comes back begins anew");
    }
}

on_both_stores! {
    async fn a_revision_that_was_not_reached_is_said_so(app) {
        app.submit(judge("ada", COMPARISON, Outcome::First)).await.unwrap();
        let at = |min_revision| GetUserRequest { user_id: "ada".to_owned(), min_revision };
        assert!(app.personalization().get_user(at(1)).await.is_ok());
        let ahead = app.personalization().get_user(at(2)).await;
        assert_eq!(refusal(ahead), (Code::FailedPrecondition, "REVISION_NOT_REACHED".to_owned()));
    }
}

on_both_stores! {
    async fn an_export_holds_all_that_an_erasure_takes(app) {
        use export_user_response::Item;
        app.import_topics().await;
        let asked = [app.ask("ada").await, app.ask("ada").await];
        let first = app.submit(answer("ada", &asked[0].query_id, Outcome::First)).await.unwrap();
        let undone = app.submit(judge("ada", ("undone", "one", "other"), Outcome::Neither)).await.unwrap();
        app.delete_preference("ada", &undone.preference_id).await.unwrap();
        app.submit(judge("bob", COMPARISON, Outcome::First)).await.unwrap();
        let row = |user: &str| PreferenceRow {
            user_id: user.to_owned(),
            prompt: "imported".to_owned(),
            response_a: "one".to_owned(),
            response_b: "other".to_owned(),
            preference: 0.5,
            group: "topic".to_owned(),
        };
        app.import_preferences("set", &[row("ada"), row("bob"), row("cleo")]).await.unwrap();

        let items = app.export("ada").await.unwrap();
        assert_eq!(items[0], Item::Profile(app.get_user("ada").await.unwrap()));
        let log: Vec<_> = items.iter().filter_map(|item| match item {
            Item::Preference(line) => Some((line.preference_id.as_str(), line.outcome(), line.delete_time.is_some())),
            _ => None,
        }).collect();
        let expected = [
            (first.preference_id.as_str(), Outcome::First, false),
            (undone.preference_id.as_str(), Outcome::Neither, true),
        ];
        assert_eq!(log, expected);
        let questions = items.iter().filter(|item| matches!(item, Item::Query(query) if asked.contains(query)));
        assert_eq!(questions.count(), 2);
        let imported = ImportedPreference { dataset_id: "set".to_owned(), row: Some(row("ada")) };
        assert_eq!(items.last(), Some(&Item::Imported(imported)));
        assert_eq!(items.len(), 6);
        // Of somebody who was only imported that is all there is.
        assert_eq!(app.export("cleo").await.unwrap().len(), 1);

        app.delete_user("ada").await.unwrap();
        app.delete_user("cleo").await.unwrap();
        for user in ["ada", "cleo", "nobody"] {
            assert_eq!(refusal(app.export(user).await), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
        }
        assert_eq!(app.export("bob").await.unwrap().len(), 3);
    }
}

on_both_stores! {
    async fn an_export_of_many_lines_comes_whole_and_in_order(app) {
        let rows: Vec<_> = (0..600).map(|line| PreferenceRow {
            user_id: "ada".to_owned(),
            prompt: format!("prompt {line}"),
            response_a: "one".to_owned(),
            response_b: "other".to_owned(),
            preference: 1.0,
            group: String::new(),
        }).collect();
        app.import_preferences("set", &rows).await.unwrap();
        app.import_preferences("another set", &rows[..10]).await.unwrap();
        let items = app.export("ada").await.unwrap();
        let mut lines: Vec<_> = items.iter().map(|item| match item {
            export_user_response::Item::Imported(line) => (&line.dataset_id, &line.row.as_ref().unwrap().prompt),
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(lines.len(), 610);
        assert!(lines.is_sorted_by_key(|(dataset, _)| *dataset));
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 610, "none twice");
    }
}
