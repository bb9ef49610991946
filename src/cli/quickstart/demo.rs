//! One person who was not in training answers ten questions; then two with other tastes ask the same thing.

use std::collections::HashSet;

use anyhow::Context;
use nalgebra::DVector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::world::{POOL, World};
use crate::cli::in_words::{BaseFunction, styles};
use crate::domain::{Comparison, Outcome, PairKey, PoolName, TenantId, Weight};
use crate::engine::{
    Engine, EngineError, Generate, GenerationStrategy, GeneratorName, NextQuery, Profile, Prompt,
    QuerySource, Sampling, SubmitPreference, Target,
};
use crate::evaluate::attributes::{ATTRIBUTES, Person};
use crate::math::Acquisition;
use crate::math::metrics::auc;
use crate::model::{RewardModel, Text};

const QUESTIONS: i64 = 10;

/// Numbers of answers after which predictions are shown.
const SHOWN: [i64; 3] = [0, 5, QUESTIONS];

pub(super) async fn show(engine: &Engine, tenant: &TenantId, world: &World) -> anyhow::Result<()> {
    let (one, other) = two_tastes(world)?;
    println!("\n{}, who was not in training, {one}. Ten questions, chosen one by one:\n", one.id);
    let learned = learn(engine, tenant, world, one, true).await?;
    let serving = engine.models().active(tenant)?;
    let unseen = Unseen::of(one, world, serving.resident.model(), &learned.asked)?;
    println!(
        "\nHow well {}'s other choices, on prompts that nobody judged in training, are predicted:",
        one.id
    );
    println!("  {:<28} AUC {:.3}", "one reward for everybody", unseen.classic()?);
    for (answers, lambda) in &learned.path {
        println!("  {:<28} AUC {:.3}", format!("after {answers} answers"), unseen.predicted(lambda)?);
    }
    println!("\nWhat sets {} apart from the average person, as learned (truth: {one}):", one.id);
    let base_functions = BaseFunction::of_manifest(serving.manifest());
    print!("{}", styles(&learned.profile.coefficients, &learned.profile.standard_errors, &base_functions));

    learn(engine, tenant, world, other, false).await?;
    let (prompt, answers) = same_prompt(engine, tenant, world, [one, other]).await?;
    println!("\nThe same prompt for two people: {prompt}");
    for (person, answer) in [one, other].into_iter().zip(answers) {
        println!("\n  {} ({person})\n    {}", person.id, answer.replace('\n', "\n    "));
    }
    Ok(())
}

/// The first unseen person, and the one whose taste is least like theirs.
fn two_tastes(world: &World) -> anyhow::Result<(&Person, &Person)> {
    let mut people = world.unseen.users().iter().filter_map(|user| world.population.person(user));
    let one = people.next().context("nobody was held out of training")?;
    let alike = |other: &Person| -> f64 {
        let (a, b) = (one.coefficients(), other.coefficients());
        a[..ATTRIBUTES].iter().zip(&b[..ATTRIBUTES]).map(|(a, b)| a * b).sum()
    };
    let other =
        people.min_by(|a, b| alike(a).total_cmp(&alike(b))).context("one person was held out of training")?;
    Ok((one, other))
}

/// A person after their answers.
struct Learned {
    profile: Profile,
    /// λ after each of [`SHOWN`] that was passed.
    path: Vec<(i64, DVector<f64>)>,
    asked: HashSet<PairKey>,
}

/// Lets the person answer until they have given ten answers; one who gave them at an earlier start is asked nothing.
async fn learn(
    engine: &Engine,
    tenant: &TenantId,
    world: &World,
    person: &Person,
    print: bool,
) -> anyhow::Result<Learned> {
    let user = &person.id;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let prior = engine.models().active(tenant)?.prior.mean().clone();
    let mut learned = match engine.get_user(tenant, user, 0).await {
        Ok(profile) => {
            let lines = engine.list_preferences(tenant, user, 0, 1_000).await?;
            let asked = lines.iter().map(|line| line.comparison.pair_key()).collect();
            if print && profile.answers > 0 {
                println!("  {} answers were given at an earlier start.", profile.answers);
            }
            let path = vec![(0, prior), (profile.answers, lambda(&profile))];
            Learned { profile, path, asked }
        }
        Err(EngineError::UserNotFound(_)) => {
            let asked = engine.next_query(tenant, question(person)?).await?;
            Learned { profile: asked.profile, path: vec![(0, prior)], asked: HashSet::new() }
        }
        Err(error) => return Err(error.into()),
    };
    while learned.profile.answers < QUESTIONS {
        let asked = engine.next_query(tenant, question(person)?).await?;
        let Some(question) = asked.questions.into_iter().next() else { break };
        let answer = world.population.judge(person, &question.comparison, &mut rng);
        let outcome = match answer.context("a question that is not of the pool")? {
            a if a > 0.5 => Outcome::First,
            a if a < 0.5 => Outcome::Second,
            _ => Outcome::Tie,
        };
        let submitted = SubmitPreference {
            user: user.clone(),
            target: Target::Query(question.query_id),
            outcome,
            weight: Weight::ONE,
            request_id: None,
        };
        learned.profile = engine.submit_preference(tenant, submitted).await?.profile;
        learned.asked.insert(question.comparison.pair_key());
        if print {
            print_answer(learned.profile.answers, &question.comparison, outcome, question.information_gain);
        }
        if SHOWN.contains(&learned.profile.answers) {
            learned.path.push((learned.profile.answers, lambda(&learned.profile)));
        }
    }
    Ok(learned)
}

fn question(person: &Person) -> anyhow::Result<NextQuery> {
    Ok(NextQuery {
        user: person.id.clone(),
        source: QuerySource::Pool(PoolName::parse(POOL)?),
        strategy: Acquisition::InformationGain,
        count: 1,
        request_id: None,
    })
}

fn lambda(profile: &Profile) -> DVector<f64> {
    DVector::from_column_slice(&profile.coefficients)
}

fn print_answer(number: i64, comparison: &Comparison, outcome: Outcome, bits: f64) {
    let mark = |chosen| if outcome == chosen { "✓" } else { " " };
    let tie = if outcome == Outcome::Tie { "  (both alike)" } else { "" };
    println!("  {number:>2}. {}  [{bits:.2} bits]{tie}", comparison.prompt);
    println!("     {} {}", mark(Outcome::First), beginning(&comparison.response_a));
    println!("     {} {}", mark(Outcome::Second), beginning(&comparison.response_b));
}

/// The first line's worth of a text.
fn beginning(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(92) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// The person's choices on prompts that were not in training, less the pairs that they were asked about.
struct Unseen {
    /// δ of the preferred response less the other, and the shared reward's difference.
    choices: Vec<(DVector<f64>, f64)>,
}

impl Unseen {
    fn of(
        person: &Person,
        world: &World,
        model: &RewardModel,
        asked: &HashSet<PairKey>,
    ) -> anyhow::Result<Self> {
        let prompts: HashSet<&str> = world.unseen.prompts().iter().map(String::as_str).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut choices = Vec::new();
        for comparison in world.population.comparisons() {
            if !prompts.contains(comparison.prompt.as_str()) || asked.contains(&comparison.pair_key()) {
                continue;
            }
            let says = world.population.judge(person, comparison, &mut rng).filter(|&a| a != 0.5);
            let Some(says) = says else { continue };
            let Comparison { prompt, response_a, response_b } = comparison;
            let (chosen, other) =
                if says > 0.5 { (response_a, response_b) } else { (response_b, response_a) };
            let embeddings = model.embed(&[Text::new(prompt, chosen), Text::new(prompt, other)])?;
            let phi = model.features_of_embeddings(&embeddings)?;
            let classic =
                model.classic_of_embeddings(&embeddings)?.context("the model has no classic head")?;
            choices.push((&phi[0] - &phi[1], classic[0] - classic[1]));
        }
        Ok(Self { choices })
    }

    fn predicted(&self, lambda: &DVector<f64>) -> anyhow::Result<f64> {
        let margins: Vec<f64> = self.choices.iter().map(|(delta, _)| lambda.dot(delta)).collect();
        auc(&margins).context("the person made no choice to predict")
    }

    fn classic(&self) -> anyhow::Result<f64> {
        let margins: Vec<f64> = self.choices.iter().map(|&(_, classic)| classic).collect();
        auc(&margins).context("the person made no choice to predict")
    }
}

/// The prompt, of those that were not in training, that divides the two most, with the best of its answers for each:
/// by how much more each expects of their own answer than of the other's.
async fn same_prompt(
    engine: &Engine,
    tenant: &TenantId,
    world: &World,
    people: [&Person; 2],
) -> anyhow::Result<(String, [String; 2])> {
    let mut shown = None;
    let mut widest = f64::NEG_INFINITY;
    for prompt in world.unseen.prompts() {
        let mut ranked = Vec::new();
        for person in people {
            let request = Generate {
                user: Some(person.id.clone()),
                prompt: Prompt::User(prompt.clone()),
                sampling: Sampling::default(),
                guidance_scale: 1.0,
                strategy: GenerationStrategy::BestOfN,
                generator: GeneratorName::Pool(PoolName::parse(POOL)?),
                candidates: None,
                risk_aversion: 0.0,
                seed: Some(0),
                min_revision: 0,
                reject_early: false,
                remembered: None,
            };
            ranked.push(engine.generate(tenant, request).await?.finished().await?.candidates);
        }
        let [Some(one), Some(other)] = [ranked[0].first(), ranked[1].first()] else { continue };
        let expects = |person: usize, text: &str| {
            ranked[person].iter().find(|candidate| candidate.text == text).map_or(0.0, |found| found.reward)
        };
        let divide = one.reward - expects(0, &other.text) + other.reward - expects(1, &one.text);
        if divide > widest {
            widest = divide;
            shown = Some((prompt.clone(), [one.text.clone(), other.text.clone()]));
        }
    }
    shown.context("no prompt was held out of training")
}
