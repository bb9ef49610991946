//! Score and Generate.

use pref::service::proto::*;
use tonic::Code;

use crate::app::{PROMPTS, judge, refusal, refused_field, row};
use crate::on_both_stores;

const LONG: &str = "Many more words than there have to be in one.";
const SHORT: &str = "Few.";

fn score(user: &str, responses: &[&str]) -> ScoreRequest {
    ScoreRequest {
        user_id: user.to_owned(),
        prompt: "x".to_owned(),
        responses: responses.iter().map(|&response| response.to_owned()).collect(),
        ..Default::default()
    }
}

fn generate(user: &str, prompt: &str) -> GenerateRequest {
    GenerateRequest { user_id: user.to_owned(), prompt: prompt.to_owned(), ..Default::default() }
}

on_both_stores! {
    async fn responses_are_ranked_by_what_the_user_said(app) {
        for _ in 0..3 {
            app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
            app.submit(judge("bob", ("x", LONG, SHORT), Outcome::Second)).await.unwrap();
        }
        let ada = app.score(score("ada", &[SHORT, LONG])).await.unwrap();
        let bob = app.score(score("bob", &[SHORT, LONG])).await.unwrap();
        let order = |reply: &ScoreResponse| reply.responses.iter().map(|scored| scored.index).collect::<Vec<_>>();
        assert_eq!((order(&ada), order(&bob)), (vec![1, 0], vec![0, 1]));
        assert_eq!((ada.responses[0].text.as_str(), ada.revision), (LONG, 3));
        assert!((ada.responses[0].reward + ada.responses[1].reward).abs() < 1e-12, "relative to the mean");
        assert!(ada.responses[0].standard_error > 0.0);
        assert_eq!(app.score(score("ada", &[LONG])).await.unwrap().responses[0].reward, 0.0);
    }
}

on_both_stores! {
    async fn a_risk_averse_caller_gets_the_surer_response(app) {
        let mut request = score("ada", &[SHORT, LONG, LONG]);
        request.risk_aversion = Some(100.0);
        let averse = app.score(request).await.unwrap().responses;
        assert!(averse[0].standard_error <= averse[2].standard_error);
    }
}

on_both_stores! {
    async fn the_same_prompt_is_answered_otherwise_for_another_person(app) {
        app.import_topics().await;
        for _ in 0..4 {
            app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
            app.submit(judge("bob", ("x", LONG, SHORT), Outcome::Second)).await.unwrap();
        }
        let (started, delta, finished) = app.generate(generate("ada", PROMPTS[0])).await.unwrap();
        assert_eq!((started.revision, started.model_version.as_str()), (4, "test-1"));
        assert_eq!(delta.text, finished.text);
        assert_eq!(finished.finish_reason(), FinishReason::Stop);
        assert!(finished.reward > 0.0, "better than the average candidate: {}", finished.reward);
        assert!(finished.candidates.is_empty());
        let (_, _, other) = app.generate(generate("bob", PROMPTS[0])).await.unwrap();
        assert_ne!(finished.text, other.text);
    }
}

on_both_stores! {
    async fn the_candidates_come_best_first_and_the_baseline_is_their_mean(app) {
        app.import_topics().await;
        app.submit(judge("ada", ("x", LONG, SHORT), Outcome::First)).await.unwrap();
        let request = GenerateRequest { include_candidates: true, ..generate("ada", PROMPTS[1]) };
        let (_, _, finished) = app.generate(request).await.unwrap();
        let rewards: Vec<_> = finished.candidates.iter().map(|candidate| candidate.reward).collect();
        assert_eq!(rewards.len(), 4);
        assert!(rewards.is_sorted_by(|a, b| a >= b) && rewards.iter().sum::<f64>().abs() < 1e-12);
        assert_eq!((finished.candidates[0].text.as_str(), rewards[0]), (finished.text.as_str(), finished.reward));
    }
}

on_both_stores! {
    async fn a_seed_gives_the_same_completion_again_and_n_bounds_the_choice(app) {
        app.import_topics().await;
        let request = |strategy: GenerationStrategy, candidates, seed| GenerateRequest {
            strategy: strategy.into(),
            candidates,
            sampling: Some(Sampling { seed: Some(seed), ..Default::default() }),
            ..generate("ada", PROMPTS[2])
        };
        let mut unguided = Vec::new();
        for seed in 0..20 {
            let request = request(GenerationStrategy::Unguided, 2, seed);
            let (started, _, finished) = app.generate(request.clone()).await.unwrap();
            assert_eq!(started.seed, seed);
            assert_eq!(app.generate(request).await.unwrap().2.text, finished.text);
            unguided.push(finished.text);
        }
        unguided.sort();
        unguided.dedup();
        assert_eq!(unguided.len(), 4, "unguided answers are whichever comes");
        let (_, _, one) = app.generate(request(GenerationStrategy::BestOfN, 1, 0)).await.unwrap();
        assert_eq!(one.reward, 0.0, "of one candidate there is no better one");
    }
}

on_both_stores! {
    async fn a_pool_can_be_named(app) {
        let text = |words: &str| vec![words.to_owned()];
        app.import(vec![row("a", "x", &text("from a")), row("b", "x", &text("from b"))]).await.unwrap();
        for pool in ["a", "b"] {
            let request = GenerateRequest { generator: format!("pool:{pool}"), ..generate("ada", "x") };
            assert_eq!(app.generate(request).await.unwrap().2.text, format!("from {pool}"));
        }
        let refused = async |generator: &str, prompt: &str| {
            refusal(app.generate(GenerateRequest { generator: generator.to_owned(), ..generate("ada", prompt) }).await)
        };
        assert_eq!(refused("pool:c", "x").await, (Code::NotFound, "POOL_NOT_FOUND".to_owned()));
        assert_eq!(refused("pool", "y").await, (Code::NotFound, "PROMPT_NOT_IN_POOL".to_owned()));
        assert_eq!(refused("nonsense", "x").await, (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    }
}

on_both_stores! {
    async fn strategies_of_language_models_need_one(app) {
        app.import_topics().await;
        let guided = |strategy: GenerationStrategy| GenerateRequest { strategy: strategy.into(), ..generate("ada", PROMPTS[0]) };
        let told = refusal(app.generate(guided(GenerationStrategy::ValueGuided)).await);
        assert_eq!(told, (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        let told = refusal(app.generate(guided(GenerationStrategy::StyleGuided)).await);
        assert_eq!(told, (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    }
}

on_both_stores! {
    async fn of_a_conversation_the_last_message_is_answered(app) {
        app.import_topics().await;
        let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
        let conversation = |messages| GenerateRequest { messages, ..generate("ada", "") };
        let asked = vec![message("user", "Hi"), message("assistant", "Hello"), message("user", PROMPTS[0])];
        let (_, _, finished) = app.generate(conversation(asked.clone())).await.unwrap();
        assert_eq!(finished.text, app.generate(generate("ada", PROMPTS[0])).await.unwrap().2.text);
        for (messages, field) in [
            (vec![message("wizard", "x")], "messages[0].role"),
            (asked[..2].to_vec(), "messages"),
            (vec![message("user", " ")], "messages"),
        ] {
            assert_eq!(refused_field(app.generate(conversation(messages)).await), (Code::InvalidArgument, field.to_owned()));
        }
        let both = GenerateRequest { prompt: "x".to_owned(), ..conversation(asked) };
        assert_eq!(refused_field(app.generate(both).await), (Code::InvalidArgument, "messages".to_owned()));
    }
}
