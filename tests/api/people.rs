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
    async fn export_is_not_implemented_and_says_what_to_use(app) {
        let request = ExportUserRequest { user_id: "ada".to_owned() };
        let refused = refusal(app.personalization().export_user(request).await);
        assert_eq!(refused, (Code::Unimplemented, "NOT_IMPLEMENTED".to_owned()));
    }
}
