//! CandidateService.

use std::time::{Duration, Instant};

use pref::service::proto::*;
use tonic::Code;

use crate::app::{TestApp, from_pool, refusal, refused_field, request_id, row};
use crate::on_both_stores;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

on_both_stores! {
    async fn what_is_there_already_is_left_as_it_is(app) {
        let rows = vec![
            row("p", "x", &texts(["a", "b", "a"])),
            row("", "y", &texts(["c"])),
            row("q", "x", &texts(["a"])),
        ];
        let imported = app.import(rows.clone()).await.unwrap();
        assert_eq!((imported.rows, imported.imported_responses), (3, 4));
        let sizes = |pools: &[Pool]| {
            pools.iter().map(|pool| (pool.name.clone(), pool.prompts, pool.responses)).collect::<Vec<_>>()
        };
        let expected = [("p".to_owned(), 2, 3), ("q".to_owned(), 1, 1)];
        assert_eq!(sizes(&imported.pools), expected);
        assert_eq!(app.list_pools().await.unwrap(), imported.pools);

        let again = app.import(rows).await.unwrap();
        assert_eq!((again.rows, again.imported_responses), (3, 0));
        assert_eq!(again.pools, imported.pools, "nothing changed, not even a revision");
    }
}

on_both_stores! {
    async fn a_repeat_gets_the_first_reply(app) {
        let mut rows = vec![row("p", "x", &texts(["a", "b"]))];
        rows[0].request_id = request_id();
        let first = app.import(rows.clone()).await.unwrap();
        assert_eq!(app.import(rows.clone()).await.unwrap(), first);
        rows.push(row("p", "y", &texts(["a"])));
        assert_eq!(refusal(app.import(rows).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    }
}

on_both_stores! {
    async fn a_bad_row_is_named_and_an_import_may_be_empty(app) {
        let cases = [
            (row("", "x", &texts(["a"])), Code::InvalidArgument, "rows[1].pool"),
            (row("p", " ", &texts(["a"])), Code::InvalidArgument, "rows[1].prompt"),
            (row("p", "x", &[]), Code::InvalidArgument, "rows[1].responses"),
            (row("p", "x", &texts([&"a".repeat(3000)])), Code::ResourceExhausted, "rows[1].responses[0]"),
        ];
        for (bad, code, field) in cases {
            let mut rows = vec![row("p", "x", &texts(["a"])), bad];
            if field.ends_with("pool") {
                rows[0].pool.clear();
                let refused = refused_field(app.import(rows).await);
                assert_eq!(refused, (code, "rows[0].pool".to_owned()));
            } else {
                assert_eq!(refused_field(app.import(rows).await), (code, field.to_owned()));
            }
        }
        let imported = app.import(Vec::new()).await.unwrap();
        assert_eq!((imported.rows, imported.pools.len()), (0, 0));
    }
}

on_both_stores! {
    async fn a_deleted_pool_is_gone_and_its_questions_stay_answerable(app) {
        app.import_topics().await;
        let query = app.ask("ada").await;
        app.delete_pool("topics").await.unwrap();
        assert_eq!(app.list_pools().await.unwrap(), []);
        let not_found = (Code::NotFound, "POOL_NOT_FOUND".to_owned());
        assert_eq!(refusal(app.delete_pool("topics").await), not_found);
        assert_eq!(refusal(app.next_query(from_pool("ada", "topics")).await), not_found);
        let answered = app.submit(crate::app::answer("ada", &query.query_id, Outcome::First)).await.unwrap();
        assert_eq!(answered.profile.unwrap().answers, 1);

        app.import_topics().await;
        assert_eq!(app.ask("bob").await.model_version, "test-1", "a pool of the same name is a new one");
    }
}

on_both_stores! {
    async fn a_repeated_deletion_succeeds_by_its_request_id(app) {
        app.import(vec![row("p", "x", &texts(["a"]))]).await.unwrap();
        let request = DeletePoolRequest { pool: "p".to_owned(), request_id: request_id() };
        app.candidates().delete_pool(request.clone()).await.unwrap();
        app.candidates().delete_pool(request).await.expect("the first reply");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_takes_longer_to_read_than_a_call_may_is_there_in_the_end() {
    let app = TestApp::configured(|engine, service| {
        // Nothing is remembered of a build that was given up, and nothing done that nobody waits for.
        engine.resident.cache_entries = 0;
        service.call_timeout = Duration::from_millis(100);
        service.limits.text_bytes = 30_000;
    })
    .await;
    let long = |word: &str| [word, " and so on."].concat().repeat(1200);
    let prompts = (0..40).map(|n| row("long", &format!("{n}?"), &[long(&format!("This {n}")), long("That")]));
    for row in prompts {
        app.import(vec![row]).await.unwrap();
    }
    let begun = Instant::now();
    loop {
        match app.next_query(from_pool("ada", "long")).await {
            Ok(reply) => break assert_eq!(reply.queries.len(), 1),
            Err(late) => assert_eq!(refusal::<()>(Err(late)).1, "DEADLINE_EXCEEDED"),
        }
        assert!(begun.elapsed() < PATIENCE, "the pool is never there");
    }
    app.stop().await;
}
