//! The Attributes set (App. B.1) without a language model: people of known taste judge answers of known style.
//!
//! A grammar writes answers to prompts on everyday topics. Each answer has drawn levels of seven attributes and a
//! quality, which its text truly shows. A person cares about two of the attributes, and everybody about quality; they
//! judge two answers by Bradley–Terry on their reward, asked in both orders, which leaves {0, ½, 1}.
//!
//! Everything here is this project's own text, made from a seed alone: the same configuration and seed give the
//! same bytes on every machine. No trait is ever shown to a learner; [`Population::traits`] is for oracles.

mod grammar;
mod people;
mod phrases;
#[cfg(test)]
mod tests;
mod topics;
mod traits;

use std::collections::HashMap;

use rand::seq::{SliceRandom, index};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use self::people::{COMMON, POSITION_BIAS, Person, TRAIT, kinds};
pub use self::traits::{ATTRIBUTES, Attribute, FEATURES, Traits};
use crate::domain::{Candidates, Comparison, ContentHash, Invalid, Judgment, UserId};

/// Name and version of the set. Any change of its bytes for a seed is a new version.
pub const VERSION: &str = "attributes-v1";

/// Responses a prompt: six contrasting couples.
pub const RESPONSES: usize = 12;

/// How large a set is, and how noisy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// People; beyond 84 kinds repeat.
    pub users: usize,
    /// Distinct comparisons, spread evenly over prompts: first each prompt's contrasting couples, then other pairs.
    pub pairs: usize,
    /// Share of the comparisons that each person judges, in (0, 1].
    pub overlap: f64,
    /// Temperature of the judge: 1 as calibrated, 0 never errs.
    pub noise: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { users: 84, pairs: 1_020, overlap: 0.8, noise: 1.0 }
    }
}

impl Config {
    /// Checks every field.
    fn check(&self) -> Result<(), Invalid> {
        let most = topics::all().len() * RESPONSES * (RESPONSES - 1) / 2;
        if !(1..=1_000_000).contains(&self.users) {
            return Err(Invalid::new("users", self.users, "1 to 1000000"));
        }
        if !(1..=most).contains(&self.pairs) {
            return Err(Invalid::new("pairs", self.pairs, format!("1 to {most}")));
        }
        if !(self.overlap > 0.0 && self.overlap <= 1.0) {
            return Err(Invalid::new("overlap", self.overlap, "a share in (0, 1]"));
        }
        if !(0.0..=100.0).contains(&self.noise) {
            return Err(Invalid::new("noise", self.noise, "a number from 0 to 100"));
        }
        Ok(())
    }
}

/// People, prompts with answers, and the comparisons that are judged.
#[derive(Debug)]
pub struct Population {
    config: Config,
    seed: u64,
    people: Vec<Person>,
    pool: Vec<Candidates>,
    comparisons: Vec<(Comparison, &'static str)>,
    traits: HashMap<ContentHash, Traits>,
}

impl Population {
    /// Writes the texts and draws the comparisons.
    ///
    /// # Errors
    /// A field of `config` out of its range.
    pub fn new(config: Config, seed: u64) -> Result<Self, Invalid> {
        config.check()?;
        let kinds = kinds();
        let people = (0..config.users)
            .map(|at| {
                let id = UserId::parse(format!("u{:04}", at + 1))?;
                Ok(Person { id, taste: kinds[at % kinds.len()] })
            })
            .collect::<Result<_, Invalid>>()?;
        let mut population =
            Self { config, seed, people, pool: Vec::new(), comparisons: Vec::new(), traits: HashMap::new() };
        let topics = topics::all();
        for (at, topic) in topics.iter().enumerate() {
            let responses = population.write_responses(topic, at as u64);
            population.pool.push(Candidates { prompt: topic.prompt.to_owned(), responses });
        }
        population.draw_comparisons(topics);
        Ok(population)
    }

    /// Everybody.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// The person of this name.
    pub fn person(&self, id: &UserId) -> Option<&Person> {
        self.people.iter().find(|person| person.id == *id)
    }

    /// All prompts with all answers.
    pub fn pool(&self) -> &[Candidates] {
        &self.pool
    }

    /// The comparisons that people judge.
    pub fn comparisons(&self) -> impl ExactSizeIterator<Item = &Comparison> {
        self.comparisons.iter().map(|(comparison, _)| comparison)
    }

    /// What an answer of the pool truly is; nothing for a text that is not of this population.
    pub fn traits(&self, prompt: &str, response: &str) -> Option<&Traits> {
        self.traits.get(&ContentHash::new(prompt, response))
    }

    /// The person's reward of an answer of the pool: see [`Person::reward`].
    pub fn true_reward(&self, person: &Person, prompt: &str, response: &str) -> Option<f64> {
        self.traits(prompt, response).map(|traits| person.reward(traits))
    }

    /// What the person says of two answers of the pool: 1 the first, 0 the second, ½ when asking in the other order
    /// turned the answer. Nothing for a text that is not of this population.
    ///
    /// The gain in reward is perceived with logistic noise, which makes a Bradley–Terry judge (Eq. 4); it is asked in
    /// both orders, each time with [`POSITION_BIAS`] for the answer shown first, and the two replies are averaged. The
    /// outcome's distribution does not depend on which answer is called A.
    pub fn judge(&self, person: &Person, comparison: &Comparison, rng: &mut ChaCha8Rng) -> Option<f64> {
        let Comparison { prompt, response_a, response_b } = comparison;
        let gain =
            self.true_reward(person, prompt, response_a)? - self.true_reward(person, prompt, response_b)?;
        let uniform: f64 = rng.random();
        let perceived = gain + self.config.noise * (uniform.ln() - (-uniform).ln_1p());
        let says_a = |bias: f64| if perceived + bias > 0.0 { 0.5 } else { 0.0 };
        Some(says_a(POSITION_BIAS) + says_a(-POSITION_BIAS))
    }

    /// Everybody's judgments of their share of the comparisons, by person; A and B in random order.
    pub fn judgments(&self) -> Vec<Judgment> {
        let each = ((self.comparisons.len() as f64 * self.config.overlap).round() as usize).max(1);
        let mut judgments = Vec::with_capacity(each * self.people.len());
        for (at, person) in self.people.iter().enumerate() {
            let mut rng = self.stream(JUDGMENTS + at as u64);
            for drawn in index::sample(&mut rng, self.comparisons.len(), each) {
                let (comparison, group) = &self.comparisons[drawn];
                let mut comparison = comparison.clone();
                if rng.random() {
                    std::mem::swap(&mut comparison.response_a, &mut comparison.response_b);
                }
                let preference = self
                    .judge(person, &comparison, &mut rng)
                    .expect("comparisons are of the pool's own answers");
                judgments.push(Judgment {
                    user_id: person.id.clone(),
                    comparison,
                    preference,
                    group: (*group).to_owned(),
                });
            }
        }
        judgments
    }

    /// Six couples: an answer, and one that contrasts with it. All texts of a prompt differ.
    fn write_responses(&mut self, topic: &topics::Topic, stream: u64) -> Vec<String> {
        let mut rng = self.stream(TEXTS + stream);
        let mut responses: Vec<String> = Vec::with_capacity(RESPONSES);
        let mut before = None;
        while responses.len() < RESPONSES {
            let traits = match before {
                Some(other) if responses.len() % 2 == 1 => Traits::contrast(&other, &mut rng),
                _ => Traits::draw(&mut rng),
            };
            let text = grammar::write(topic, &traits, &mut rng);
            if !responses.contains(&text) {
                self.traits.insert(ContentHash::new(topic.prompt, &text), traits);
                responses.push(text);
                before = Some(traits);
            }
        }
        responses
    }

    /// Takes one pair of each prompt in turn: its couples first, then the others in random order.
    fn draw_comparisons(&mut self, topics: &[topics::Topic]) {
        let mut rng = self.stream(PAIRS);
        let mut order: Vec<usize> = (0..self.pool.len()).collect();
        order.shuffle(&mut rng);
        let mut couples: Vec<(usize, usize)> =
            (0..RESPONSES / 2).map(|couple| (2 * couple, 2 * couple + 1)).collect();
        couples.shuffle(&mut rng);
        let others: Vec<(usize, usize)> = (0..RESPONSES)
            .flat_map(|one| (one + 1..RESPONSES).map(move |other| (one, other)))
            .filter(|pair| !couples.contains(pair))
            .collect();
        let mut pairs = Vec::with_capacity(self.pool.len());
        for _ in 0..self.pool.len() {
            let mut rest = others.clone();
            rest.shuffle(&mut rng);
            pairs.push([couples.clone(), rest].concat());
        }
        for at in 0..self.config.pairs {
            let prompt = order[at % order.len()];
            let (one, other) = pairs[prompt][at / order.len()];
            let Candidates { prompt: text, responses } = &self.pool[prompt];
            let comparison = Comparison {
                prompt: text.clone(),
                response_a: responses[one].clone(),
                response_b: responses[other].clone(),
            };
            self.comparisons.push((comparison, topics[prompt].family.name));
        }
    }

    /// A generator of its own for each thing that is drawn, so that more people or pairs change no text.
    fn stream(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}

/// First streams of the three kinds of draws.
const PAIRS: u64 = 0;
const TEXTS: u64 = 1 << 32;
const JUDGMENTS: u64 = 2 << 32;
