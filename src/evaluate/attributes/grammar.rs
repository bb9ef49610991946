use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::phrases::{self, Bank};
use super::topics::Topic;
use super::traits::{Attribute, Traits};

/// Writes an answer to the topic's prompt that has these traits.
///
/// Length is how many pieces of advice are given and how many of them are explained; quality how many of them are
/// concrete. Every other attribute shows by one phrase at ±½ and by two at ±1, each at a place drawn at random, in
/// one of many wordings; casual answers contract verbs and formal ones use longer words besides.
pub(super) fn write(topic: &Topic, traits: &Traits, rng: &mut ChaCha8Rng) -> String {
    let mut draft = Draft::of(topic, traits, rng);
    let mut phrases: Vec<Attribute> = Attribute::ALL
        .into_iter()
        .flat_map(|attribute| std::iter::repeat_n(attribute, (2.0 * traits.level(attribute).abs()) as usize))
        .collect();
    phrases.shuffle(rng);
    for attribute in phrases {
        if attribute != Attribute::Length {
            draft.show(topic, attribute, traits.level(attribute) > 0.0, rng);
        }
    }
    let text = draft.render(rng);
    register(&text, traits.level(Attribute::Formality), rng).replace("{noun}", topic.noun)
}

/// An answer in the making.
struct Draft {
    first: Vec<String>,
    advice: Vec<Advice>,
    last: Vec<String>,
    /// A question to the user, after everything else.
    question: Option<String>,
    used: Vec<&'static str>,
}

/// One piece of advice with its places for style.
struct Advice {
    imperative: &'static str,
    reason: Option<&'static str>,
    opener: Option<&'static str>,
    frame: Option<&'static str>,
    tail: Option<&'static str>,
    exclaimed: bool,
}

/// Places where a phrase can stand.
#[derive(Debug, Clone, Copy)]
enum Place {
    Frame,
    Opener,
    Tail,
    First,
    Last,
    Exclamation,
}

impl Draft {
    /// The advice alone, in plain words.
    fn of(topic: &Topic, traits: &Traits, rng: &mut ChaCha8Rng) -> Self {
        let length = traits.level(Attribute::Length);
        let (count, concrete) = (traits.pieces(), traits.concrete());
        let explained = match (2.0 * length) as i32 {
            ..=-1 => 0,
            0 => 1,
            1 => 2,
            _ => 4,
        };
        let tips = topic.tips.sample(rng, concrete);
        let filler = phrases::FILLER.sample(rng, count - concrete);
        let mut chosen: Vec<(&str, &str)> = tips.chain(filler).copied().collect();
        chosen.shuffle(rng);
        let mut reasons: Vec<bool> = (0..count).map(|at| at < explained).collect();
        reasons.shuffle(rng);
        let advice = chosen.into_iter().zip(reasons).map(|((imperative, reason), explained)| Advice {
            imperative,
            reason: explained.then_some(reason),
            opener: None,
            frame: None,
            tail: None,
            exclaimed: false,
        });
        let mut draft = Self {
            first: Vec::new(),
            advice: advice.collect(),
            last: Vec::new(),
            question: None,
            used: Vec::new(),
        };
        if length >= 1.0 {
            draft.first.push(pick(phrases::PREAMBLES, rng).to_owned());
            draft.last.push(pick(phrases::SUMMARIES, rng).to_owned());
        }
        draft
    }

    /// Puts one phrase of the attribute's direction at a free place.
    fn show(&mut self, topic: &Topic, attribute: Attribute, positive: bool, rng: &mut ChaCha8Rng) {
        let bank = phrases::bank(attribute, positive);
        let mut places =
            vec![Place::Frame, Place::Opener, Place::Tail, Place::First, Place::Last, Place::Last];
        if (attribute, positive) == (Attribute::Enthusiasm, true) {
            places.push(Place::Exclamation);
        }
        places.shuffle(rng);
        for place in places {
            if self.put(place, topic, attribute, positive, bank, rng) {
                return;
            }
        }
    }

    fn put(
        &mut self,
        place: Place,
        topic: &Topic,
        attribute: Attribute,
        positive: bool,
        bank: &'static Bank,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        let at = rng.random_range(0..self.advice.len());
        let advice = &mut self.advice[at];
        let taken = match place {
            Place::Frame => advice.frame.is_some(),
            Place::Opener => advice.opener.is_some(),
            Place::Tail => advice.tail.is_some(),
            // A long string of remarks around little advice would be no answer.
            Place::First => self.first.len() >= 2,
            Place::Last => self.last.len() + usize::from(self.question.is_some()) >= 3,
            Place::Exclamation => advice.exclaimed,
        };
        if taken {
            return false;
        }
        let own: &[&'static str] = match (attribute, positive) {
            (Attribute::Humour, true) if matches!(place, Place::First | Place::Last) => &topic.family.jokes,
            (Attribute::Elicitation, true) if matches!(place, Place::Last) => &topic.family.questions,
            _ => &[],
        };
        let common = match place {
            Place::Frame => bank.frames,
            Place::Opener => bank.openers,
            Place::Tail => bank.tails,
            Place::First => bank.first,
            Place::Last => bank.last,
            Place::Exclamation => {
                advice.exclaimed = true;
                return true;
            }
        };
        let free: Vec<&'static str> =
            own.iter().chain(common).copied().filter(|p| !self.used.contains(p)).collect();
        let Some(&phrase) = free.choose(rng) else { return false };
        self.used.push(phrase);
        match place {
            Place::Frame => advice.frame = Some(phrase),
            Place::Opener => advice.opener = Some(phrase),
            Place::Tail => advice.tail = Some(phrase),
            Place::First => self.first.push(phrase.to_owned()),
            Place::Last if phrase.ends_with('?') && self.question.is_none() => {
                self.question = Some(phrase.to_owned())
            }
            Place::Last | Place::Exclamation => self.last.push(phrase.to_owned()),
        }
        true
    }

    /// Sentences in order; now and then the advice is a list.
    fn render(self, rng: &mut ChaCha8Rng) -> String {
        let layout = if self.advice.len() > 2 { rng.random_range(0..10) } else { 9 };
        let advice: Vec<String> = self.advice.iter().map(|advice| advice.render(rng)).collect();
        let body = match layout {
            0 => advice.iter().map(|text| format!("- {text}")).collect::<Vec<_>>().join("\n"),
            1 => (1..).zip(&advice).map(|(n, text)| format!("{n}. {text}")).collect::<Vec<_>>().join("\n"),
            _ => advice.join(" "),
        };
        let around = if layout < 2 { "\n" } else { " " };
        let before = (!self.first.is_empty()).then(|| self.first.join(" "));
        let last: Vec<String> = self.last.into_iter().chain(self.question).collect();
        let after = (!last.is_empty()).then(|| last.join(" "));
        before.into_iter().chain([body]).chain(after).collect::<Vec<_>>().join(around)
    }
}

impl Advice {
    fn render(&self, rng: &mut ChaCha8Rng) -> String {
        let mut sentence = String::new();
        if let Some(opener) = self.opener {
            sentence.push_str(opener);
            sentence.push(' ');
        }
        sentence.push_str(&self.frame.unwrap_or("{}").replace("{}", self.imperative));
        let end = if self.exclaimed { '!' } else { '.' };
        // With a tail, or in a long sentence, the reason is a sentence of its own.
        let apart = self.tail.is_some() || self.frame.is_some() || rng.random_range(0..2) == 0;
        if let Some(tail) = self.tail {
            sentence.push_str(", ");
            sentence.push_str(tail);
        }
        match self.reason {
            Some(reason) if apart => format!("{}{end} {}.", capital(&sentence), capital(reason)),
            Some(reason) => {
                let word = pick(&["because", "since", "as"], rng);
                format!("{}, {word} {reason}{end}", capital(&sentence))
            }
            None => format!("{}{end}", capital(&sentence)),
        }
    }
}

/// Casual answers contract verbs and use everyday words, formal ones use longer words: all of them at ±1, one in two
/// at ±½.
fn register(text: &str, formality: f64, rng: &mut ChaCha8Rng) -> String {
    let changes: &[(&str, &str)] = if formality < 0.0 {
        &CASUAL_WORDS
    } else if formality > 0.0 {
        &FORMAL_WORDS
    } else {
        return text.to_owned();
    };
    let mut text = text.to_owned();
    for (plain, changed) in changes {
        if formality.abs() >= 1.0 || rng.random_range(0..2) == 0 {
            text = replace_words(&text, plain, changed);
            text = replace_words(&text, &capital(plain), &capital(changed));
        }
    }
    text
}

const CASUAL_WORDS: [(&str, &str); 30] = [
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("cannot", "can't"),
    ("will not", "won't"),
    ("should not", "shouldn't"),
    ("it is", "it's"),
    ("that is", "that's"),
    ("there is", "there's"),
    ("here is", "here's"),
    ("what is", "what's"),
    ("you are", "you're"),
    ("you will", "you'll"),
    ("I am", "I'm"),
    ("I would", "I'd"),
    ("it will", "it'll"),
    ("nobody will", "nobody'll"),
    ("going to", "gonna"),
    ("want to", "wanna"),
    ("have to", "gotta"),
    ("a lot of", "tons of"),
    ("children", "kids"),
    ("child", "kid"),
    ("buy", "grab"),
    ("choose", "pick"),
    ("amazing", "awesome"),
    ("because", "'cause"),
    ("perhaps", "maybe"),
    ("a number of", "a bunch of"),
];

const FORMAL_WORDS: [(&str, &str); 9] = [
    ("buy", "purchase"),
    ("choose", "select"),
    ("pick", "select"),
    ("because", "given that"),
    ("since", "given that"),
    ("maybe", "possibly"),
    ("a lot of", "a considerable amount of"),
    ("find", "identify"),
    ("write down", "record"),
];

/// Replaces whole words within a sentence only: verbs are not contracted at its end.
fn replace_words(text: &str, from: &str, to: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '\'') && after.starts_with(' ');
        result.push_str(before);
        result.push_str(if word { to } else { from });
        rest = after;
    }
    result.push_str(rest);
    result
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn pick<'a>(list: &[&'a str], rng: &mut ChaCha8Rng) -> &'a str {
    list[rng.random_range(0..list.len())]
}
