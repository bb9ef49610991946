use std::collections::HashSet;

use super::lexicon::{CATEGORIES, Category, Lexicon};
use super::scan::Scan;

/// One interpretable measure of style.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// For labels: "length", "hedging".
    pub name: &'static str,
    /// Typical raw value: its mean over ordinary answers.
    centre: f64,
    /// Typical deviation.
    scale: f64,
}

impl Measure {
    const fn new(name: &'static str, centre: f64, scale: f64) -> Self {
        Self { name, centre, scale }
    }

    /// Standardised and saturating: about linear within two deviations, never beyond three.
    fn scaled(&self, raw: f64) -> f64 {
        3.0 * ((raw - self.centre) / (3.0 * self.scale)).tanh()
    }
}

/// The measures, in the order of the vector.
pub const MEASURES: &[Measure] = &[
    Measure::new("length", 4.347, 0.911),
    Measure::new("sentences", 2.184, 0.759),
    Measure::new("sentence length", 2.413, 0.463),
    Measure::new("sentence length spread", 0.463, 0.279),
    Measure::new("shortest sentence", 1.607, 0.701),
    Measure::new("longest sentence", 2.949, 0.487),
    Measure::new("word length", 4.448, 0.651),
    Measure::new("long words", 0.117, 0.100),
    Measure::new("syllables per word", 1.460, 0.220),
    Measure::new("reading ease", 0.717, 0.210),
    Measure::new("lexical diversity", 0.925, 0.100),
    Measure::new("common words", 0.552, 0.153),
    Measure::new("paragraphs", 1.013, 0.613),
    Measure::new("list items", 0.193, 0.631),
    Measure::new("numbered items", 0.319, 0.759),
    Measure::new("markdown", 0.160, 0.588),
    Measure::new("numbers", 0.621, 1.027),
    Measure::new("capitals", 0.178, 0.100),
    Measure::new("shouted words", 0.169, 0.518),
    Measure::new("exclamations", 0.203, 0.399),
    Measure::new("exclaiming sentences", 0.041, 0.106),
    Measure::new("questions", 0.210, 0.417),
    Measure::new("asking sentences", 0.048, 0.111),
    Measure::new("ends with a question", 0.146, 0.353),
    Measure::new("starts with a question", 0.057, 0.231),
    Measure::new("commas per sentence", 0.590, 0.589),
    Measure::new("colons", 0.499, 0.806),
    Measure::new("parentheses", 0.197, 0.560),
    Measure::new("quotation marks", 0.197, 0.650),
    Measure::new("dashes", 0.005, 0.100),
    Measure::new("ellipses", 0.013, 0.116),
    Measure::new("emoji", 0.005, 0.104),
    Measure::new("contractions", 0.452, 0.659),
    Measure::new("contraction density", 0.094, 0.174),
    Measure::new("uncontracted forms", 0.589, 0.606),
    Measure::new("uncontracted density", 0.125, 0.157),
    Measure::new("hedging", 0.455, 0.606),
    Measure::new("hedging density", 0.097, 0.156),
    Measure::new("certainty", 0.393, 0.517),
    Measure::new("certainty density", 0.078, 0.123),
    Measure::new("obligation", 0.040, 0.100),
    Measure::new("politeness", 0.291, 0.508),
    Measure::new("politeness density", 0.063, 0.129),
    Measure::new("bluntness", 0.341, 0.499),
    Measure::new("bluntness density", 0.075, 0.130),
    Measure::new("connectives", 0.149, 0.334),
    Measure::new("formal vocabulary", 0.106, 0.156),
    Measure::new("colloquial words", 0.684, 0.648),
    Measure::new("colloquial density", 0.161, 0.196),
    Measure::new("humour words", 0.290, 0.511),
    Measure::new("humour density", 0.062, 0.129),
    Measure::new("gravity", 0.354, 0.558),
    Measure::new("enthusiasm", 0.369, 0.523),
    Measure::new("enthusiasm density", 0.071, 0.119),
    Measure::new("dullness", 0.186, 0.373),
    Measure::new("vagueness", 1.366, 0.892),
    Measure::new("vagueness density", 0.476, 0.483),
    Measure::new("concreteness", 1.486, 0.573),
    Measure::new("topical words", 0.361, 0.185),
    Measure::new("quantities", 0.593, 0.707),
    Measure::new("reasons", 0.522, 0.587),
    Measure::new("asks the user", 0.396, 0.541),
    Measure::new("closing remarks", 0.151, 0.336),
    Measure::new("refusal", 0.043, 0.186),
    Measure::new("second person", 0.203, 0.267),
    Measure::new("first person", 0.130, 0.225),
    Measure::new("first person plural", 0.027, 0.136),
    Measure::new("negation", 0.106, 0.131),
    Measure::new("question words", 0.614, 0.595),
    Measure::new("softeners", 0.126, 0.172),
    Measure::new("overlap with the prompt", 0.379, 0.345),
    Measure::new("topic density", 0.448, 0.646),
    Measure::new("ends unfinished", 0.050, 0.217),
    Measure::new("empty", 0.003, 0.100),
];

/// All measures of `response`, standardised.
pub(super) fn scaled(prompt: &Scan, response: &Scan, lexicon: &Lexicon) -> [f64; MEASURES.len()] {
    let raw = raw(prompt, response, lexicon);
    std::array::from_fn(|at| MEASURES[at].scaled(raw[at]))
}

fn raw(prompt: &Scan, response: &Scan, lexicon: &Lexicon) -> [f64; MEASURES.len()] {
    let counts = &response.counts;
    let words = response.words.len() as f64;
    let sentences = response.sentences.len() as f64;
    let category = lexicon.counts(response);
    // A number of occurrences, and how dense they are; both matter to readers, and both saturate.
    let number = |count: usize| (count as f64).ln_1p();
    let share = |count: f64, of: f64| count / of.max(1.0);
    let dense = |count: f64| count / words.max(1.0).sqrt();
    let shape = Shape::of(response);
    let overlap = Overlap::of(prompt, response, lexicon);
    let count_words =
        |test: fn(&super::scan::Word) -> bool| response.words.iter().filter(|w| test(w)).count();
    let contractions = count_words(|w| w.apostrophe);
    let long_words = count_words(|w| w.characters >= 8) as f64;
    let topical = response.words.iter().filter(|w| lexicon.is_topical(w.hash)).count() as f64;
    let letters: f64 = response.words.iter().map(|w| f64::from(w.characters)).sum();
    let syllables: f64 = response.words.iter().map(|w| f64::from(w.syllables)).sum();
    let ends = |mark: char| response.sentences.iter().filter(|s| s.end == mark).count() as f64;
    let last_end = response.sentences.last().map(|s| s.end);
    let first_end = response.sentences.first().map(|s| s.end);
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
    [
        words.ln_1p(),
        sentences.ln_1p(),
        share(words, sentences).ln_1p(),
        shape.spread,
        shape.shortest,
        shape.longest,
        share(letters, words),
        share(long_words, words),
        share(syllables, words),
        // Flesch's reading ease, divided by 100.
        2.06835 - 0.01015 * share(words, sentences) - 0.846 * share(syllables, words),
        shape.diversity,
        shape.common(response, lexicon),
        number(counts.paragraphs),
        number(counts.bullets),
        number(counts.numbered),
        number(counts.markdown),
        number(count_words(|w| w.digit)),
        share(counts.capitals as f64, counts.letters as f64).sqrt(),
        number(count_words(|w| w.shouted)),
        number(counts.exclamations),
        share(ends('!'), sentences),
        number(counts.questions),
        share(ends('?'), sentences),
        flag(last_end == Some('?')),
        flag(first_end == Some('?')),
        share(counts.commas as f64, sentences),
        number(counts.colons),
        number(counts.parentheses),
        number(counts.quotes),
        number(counts.dashes),
        number(counts.ellipses),
        number(counts.emoji),
        number(contractions),
        dense(contractions as f64),
        category[Category::Uncontracted as usize].ln_1p(),
        dense(category[Category::Uncontracted as usize]),
        category[Category::Hedge as usize].ln_1p(),
        dense(category[Category::Hedge as usize]),
        category[Category::Certain as usize].ln_1p(),
        dense(category[Category::Certain as usize]),
        dense(category[Category::Must as usize]),
        category[Category::Polite as usize].ln_1p(),
        dense(category[Category::Polite as usize]),
        category[Category::Blunt as usize].ln_1p(),
        dense(category[Category::Blunt as usize]),
        category[Category::Connective as usize].ln_1p(),
        dense(category[Category::Formal as usize]),
        category[Category::Colloquial as usize].ln_1p(),
        dense(category[Category::Colloquial as usize]),
        category[Category::Humour as usize].ln_1p(),
        dense(category[Category::Humour as usize]),
        category[Category::Grave as usize].ln_1p(),
        category[Category::Enthusiasm as usize].ln_1p(),
        dense(category[Category::Enthusiasm as usize]),
        category[Category::Dull as usize].ln_1p(),
        category[Category::Vague as usize].ln_1p(),
        dense(category[Category::Vague as usize]),
        share(topical, sentences).ln_1p(),
        share(topical, words),
        category[Category::Unit as usize].ln_1p(),
        category[Category::Reason as usize].ln_1p(),
        category[Category::Asking as usize].ln_1p(),
        category[Category::Closing as usize].ln_1p(),
        category[Category::Refusal as usize].ln_1p(),
        dense(category[Category::You as usize]),
        dense(category[Category::I as usize]),
        dense(category[Category::We as usize]),
        dense(category[Category::Negation as usize]),
        category[Category::Question as usize].ln_1p(),
        dense(category[Category::Softener as usize]),
        overlap.of_prompt,
        overlap.of_response,
        flag(counts.last.is_some_and(|c| c.is_alphanumeric() || c == ',')),
        flag(response.words.is_empty()),
    ]
}

/// Lengths of sentences, and how varied words are.
struct Shape {
    spread: f64,
    shortest: f64,
    longest: f64,
    diversity: f64,
}

impl Shape {
    fn of(response: &Scan) -> Self {
        let lengths = || response.sentences.iter().map(|s| (s.words as f64).ln_1p());
        let n = response.sentences.len().max(1) as f64;
        let mean = lengths().sum::<f64>() / n;
        let distinct: HashSet<u64> = response.words.iter().map(|w| w.hash).collect();
        Self {
            spread: (lengths().map(|l| (l - mean).powi(2)).sum::<f64>() / n).sqrt(),
            shortest: lengths().reduce(f64::min).unwrap_or(0.0),
            longest: lengths().reduce(f64::max).unwrap_or(0.0),
            // Herdan's C: nearly independent of length.
            diversity: if response.words.len() > 1 {
                (distinct.len() as f64).ln() / (response.words.len() as f64).ln()
            } else {
                1.0
            },
        }
    }

    fn common(&self, response: &Scan, lexicon: &Lexicon) -> f64 {
        let common = response.words.iter().filter(|w| lexicon.is_common(w.hash)).count();
        common as f64 / response.words.len().max(1) as f64
    }
}

/// How much of the prompt's topic the response takes up.
struct Overlap {
    of_prompt: f64,
    of_response: f64,
}

impl Overlap {
    fn of(prompt: &Scan, response: &Scan, lexicon: &Lexicon) -> Self {
        let topic = |scan: &Scan| -> HashSet<u64> {
            scan.words.iter().map(|w| w.hash).filter(|&hash| !lexicon.is_common(hash)).collect()
        };
        let (asked, said) = (topic(prompt), topic(response));
        let both = asked.intersection(&said).count() as f64;
        Self {
            of_prompt: both / asked.len().max(1) as f64,
            of_response: both / (said.len().max(1) as f64).sqrt(),
        }
    }
}

const _: () = assert!(CATEGORIES <= 32, "a set of categories is 32 bits");
