//! What goes wrong between the server and its Postgres: the right code, nothing lost, and no restart.

use std::time::Duration;

use pref::service::proto::*;
use tonic::{Code, Status};

use crate::app::{TestApp, answer, from_pool, judge, refusal, request_id};
use crate::proxy::{Cut, Proxy, Weather};
use crate::replicas::until;

/// How long a call that fails may wait in these tests.
const PATIENCE: Duration = Duration::from_millis(500);
/// Attempts within which a server is well again.
const ATTEMPTS: usize = 40;

/// A server that is told soon when its database is silent.
async fn behind_a_proxy(test: &str) -> Option<(TestApp, Proxy)> {
    TestApp::behind_a_proxy(test, |store, service| {
        store.acquire_timeout = PATIENCE;
        store.statement_timeout = PATIENCE;
        service.call_timeout = PATIENCE;
    })
    .await
}

fn words(count: usize) -> SubmitPreferenceRequest {
    let long = "word ".repeat(count);
    SubmitPreferenceRequest {
        request_id: request_id(),
        ..judge("ada", ("x", &long, "Incontrovertible."), Outcome::First)
    }
}

/// Makes the call again until it is answered, as clients do that were told to.
async fn until_well(
    app: &TestApp,
    request: &SubmitPreferenceRequest,
) -> Result<SubmitPreferenceResponse, Status> {
    let mut last = Err(Status::unknown("never called"));
    for _ in 0..ATTEMPTS {
        last = app.submit(request.clone()).await;
        match &last {
            Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => break,
        }
    }
    last
}

/// Waits until nothing has gone to the database for longer than an import takes to settle.
async fn at_rest(proxy: &Proxy) {
    let mut told = None;
    while told != Some(proxy.round_trips()) {
        told = Some(proxy.round_trips());
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
}

/// A cut while `request` is being written; it is recorded once, whether or not the database had committed.
async fn cut_while_writing(app: &TestApp, proxy: &Proxy, cut: Cut, request: SubmitPreferenceRequest) {
    let Some(submit_preference_request::Target::Comparison(comparison)) = &request.target else {
        unreachable!("these tests judge comparisons")
    };
    let user = request.user_id.clone();
    let before = app.list_preferences(&user).await.map_or(0, |lines| lines.len());
    proxy.cut_at(cut, &comparison.response_a);
    let told = refusal(app.submit(request.clone()).await);
    assert_eq!(told, (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()), "{cut:?}");

    let first = until_well(app, &request).await.unwrap();
    assert_eq!(until_well(app, &request).await.unwrap(), first);
    let lines = app.list_preferences(&user).await.unwrap();
    assert_eq!(lines.len(), before + 1, "{cut:?}");
    assert_eq!(app.get_user(&user).await.unwrap().revision as usize, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_killed_in_the_middle_of_a_commit_costs_a_retry_and_no_answer() {
    let test = "a_connection_killed_in_the_middle_of_a_commit_costs_a_retry_and_no_answer";
    let Some((app, proxy)) = behind_a_proxy(test).await else { return };
    for (index, cut) in [Cut::Before, Cut::AfterAnswer].into_iter().enumerate() {
        // A person's first answer is written in several statements, a later one in a single one.
        let user = format!("user {index}");
        for count in [3, 4] {
            let request = SubmitPreferenceRequest { user_id: user.clone(), ..words(10 * index + count) };
            cut_while_writing(&app, &proxy, cut, request).await;
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_and_comes_back_needs_no_restart() {
    let test = "a_database_that_goes_away_and_comes_back_needs_no_restart";
    let Some((app, proxy)) = behind_a_proxy(test).await else { return };
    app.submit(words(3)).await.unwrap();
    proxy.set(Weather::Refusing);
    proxy.cut_all();
    for _ in 0..3 {
        let told = refusal(app.submit(words(4)).await);
        assert_eq!(told, (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()));
    }
    assert_eq!(refusal(app.get_user("ada").await).1, "DATABASE_UNAVAILABLE");

    proxy.set(Weather::Passing(Duration::ZERO));
    let reply = until_well(&app, &words(5)).await.unwrap();
    assert_eq!(reply.profile.unwrap().revision, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_falls_silent_ends_calls_in_time_and_holds_nothing_up_afterwards() {
    let test = "a_database_that_falls_silent_ends_calls_in_time_and_holds_nothing_up_afterwards";
    let Some((app, proxy)) = behind_a_proxy(test).await else { return };
    app.submit(words(3)).await.unwrap();
    proxy.set(Weather::Swallowing);
    // More than there are connections.
    let calls = (0..40)
        .map(|count| app.submit(SubmitPreferenceRequest { user_id: format!("user {count}"), ..words(4) }));
    for told in futures::future::join_all(calls).await {
        let (code, reason) = refusal(told);
        assert!(
            (code, reason.as_str()) == (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
                || (code, reason.as_str()) == (Code::Unavailable, "DATABASE_UNAVAILABLE"),
            "{code:?} {reason}"
        );
    }

    proxy.set(Weather::Passing(Duration::ZERO));
    let reply = until_well(&app, &words(5)).await.unwrap();
    assert_eq!(reply.profile.unwrap().revision, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_makes_calls_slow_and_nothing_else() {
    let test = "a_slow_database_makes_calls_slow_and_nothing_else";
    let Some((app, proxy)) = TestApp::behind_a_proxy(test, |_, _| {}).await else { return };
    app.import_topics().await;
    proxy.set(Weather::Passing(Duration::from_millis(10)));
    let query = app.ask("ada").await;
    app.submit(answer("ada", &query.query_id, Outcome::Second)).await.unwrap();
    assert_eq!(app.get_user("ada").await.unwrap().answers, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_takes_two_round_trips_and_an_answer_one_where_the_person_is_remembered() {
    let test = "a_question_takes_two_round_trips_and_an_answer_one_where_the_person_is_remembered";
    let Some((app, proxy)) = TestApp::behind_a_proxy(test, |_, _| {}).await else { return };
    // Nobody is before the server listens for who is erased.
    until("nobody is ever remembered", async || {
        app.submit(judge("bob", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
        app.engine.config().recent_metrics.remembered() > 0
    })
    .await;
    app.import_topics().await;
    // The pool that the first question reads is looked at again once its import has settled: that is no call's round trip.
    app.ask("ada").await;
    at_rest(&proxy).await;
    // The statements are prepared by the first calls, and a connection that rested is asked whether it lives.
    for _ in 0..3 {
        let query = app.ask("ada").await;
        app.submit(answer("ada", &query.query_id, Outcome::First)).await.unwrap();
    }
    // A question, an answer to it, one to the caller's own texts, and one after an undo, which forgets the person: the least of
    // some, since a connection that rested for a second is asked whether it lives.
    let mut least = [usize::MAX; 4];
    for _ in 0..4 {
        let mut trips = vec![proxy.round_trips()];
        let request = NextQueryRequest { request_id: request_id(), ..from_pool("ada", "topics") };
        let query = app.next_query(request).await.unwrap().queries.remove(0);
        trips.push(proxy.round_trips());
        let request = SubmitPreferenceRequest {
            request_id: request_id(),
            ..answer("ada", &query.query_id, Outcome::First)
        };
        app.submit(request).await.unwrap();
        trips.push(proxy.round_trips());
        app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap();
        trips.push(proxy.round_trips());
        let undone = app.list_preferences("ada").await.unwrap().remove(0);
        app.delete_preference("ada", &undone.preference_id).await.unwrap();
        let before = proxy.round_trips();
        app.submit(judge("ada", ("x", "a b c", "d e"), Outcome::First)).await.unwrap();
        let taken = trips.windows(2).map(|two| two[1] - two[0]).chain([proxy.round_trips() - before]);
        least.iter_mut().zip(taken).for_each(|(least, taken)| *least = taken.min(*least));
    }
    assert_eq!(least, [2, 1, 1, 2]);
    app.stop().await;
}
