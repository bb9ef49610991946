/// One pass over a text: its words as hashes, and counts of marks.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) words: Vec<Word>,
    /// For each sentence: index of its first word, number of words, and the mark that ended it (`\n` for none).
    pub(super) sentences: Vec<Sentence>,
    /// Hash of every character, lower-cased, with runs of white space as one space.
    pub(super) characters: Vec<u32>,
    pub(super) counts: Counts,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    /// FNV-1a of the lower-cased characters, mixed.
    pub(super) hash: u64,
    pub(super) characters: u32,
    /// Groups of vowels, at least 1.
    pub(super) syllables: u32,
    pub(super) apostrophe: bool,
    pub(super) digit: bool,
    /// Two letters or more, all of them capitals.
    pub(super) shouted: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sentence {
    pub(super) first: usize,
    pub(super) words: usize,
    pub(super) end: char,
}

/// Marks outside words.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) letters: usize,
    pub(super) capitals: usize,
    pub(super) exclamations: usize,
    pub(super) questions: usize,
    pub(super) commas: usize,
    pub(super) colons: usize,
    pub(super) parentheses: usize,
    pub(super) quotes: usize,
    pub(super) dashes: usize,
    pub(super) ellipses: usize,
    pub(super) emoji: usize,
    pub(super) paragraphs: usize,
    pub(super) bullets: usize,
    pub(super) numbered: usize,
    pub(super) markdown: usize,
    /// The last character that is not white space.
    pub(super) last: Option<char>,
}

impl Scan {
    pub(super) fn new(text: &str) -> Self {
        let mut scan = Self::default();
        scan.lines(text);
        scan.characters(text);
        scan
    }

    /// Layout: paragraphs, list items and markdown are seen line by line.
    fn lines(&mut self, text: &str) {
        let mut blank = true;
        for line in text.lines() {
            let line = line.trim_start();
            if blank && !line.is_empty() {
                self.counts.paragraphs += 1;
            }
            blank = line.is_empty();
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            if ["- ", "* ", "• ", "+ "].iter().any(|mark| line.starts_with(mark)) {
                self.counts.bullets += 1;
            } else if rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") ")) {
                self.counts.numbered += 1;
            } else if line.starts_with('#') || line.starts_with("```") || line.starts_with('|') {
                self.counts.markdown += 1;
            }
            self.counts.markdown += line.matches("**").count() / 2;
        }
    }

    fn characters(&mut self, text: &str) {
        self.characters.reserve(text.len());
        let mut word: Option<Building> = None;
        let mut sentence = 0;
        let mut space = true;
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            let low = lower(c);
            if c.is_whitespace() {
                if !space {
                    self.characters.push(u32::from(' '));
                }
            } else {
                self.characters.push(u32::from(low));
                self.counts.last = Some(c);
            }
            space = c.is_whitespace();
            let inside = c.is_alphanumeric()
                || (matches!(c, '\'' | '’')
                    && word.is_some()
                    && characters.peek().is_some_and(|n| n.is_alphanumeric()));
            if inside && !is_ideograph(c) {
                word.get_or_insert_with(Building::new).push(c, low, &mut self.counts);
                continue;
            }
            self.words.extend(word.take().map(Building::finish));
            if is_ideograph(c) {
                let mut single = Building::new();
                single.push(c, low, &mut self.counts);
                self.words.push(single.finish());
                continue;
            }
            self.counts.mark(c);
            if c == '.' && characters.peek() == Some(&'.') {
                self.counts.ellipses += 1;
                while characters.next_if_eq(&'.').is_some() {}
            }
            // 3.5 and e.g. are inside a sentence: a mark ends it only before white space, a quote or the end.
            let open = characters.peek().is_some_and(|next| next.is_alphanumeric());
            let ends = match c {
                '.' | '!' | '?' => !open,
                '。' | '！' | '？' | '…' | '\n' => true,
                _ => false,
            };
            if ends && self.words.len() > sentence {
                let end = if c == '？' { '?' } else { c };
                self.sentences.push(Sentence { first: sentence, words: self.words.len() - sentence, end });
                sentence = self.words.len();
            }
        }
        self.words.extend(word.take().map(Building::finish));
        if self.words.len() > sentence {
            self.sentences.push(Sentence { first: sentence, words: self.words.len() - sentence, end: '\n' });
        }
        if self.characters.last() == Some(&u32::from(' ')) {
            self.characters.pop();
        }
    }
}

impl Counts {
    fn mark(&mut self, c: char) {
        match c {
            '!' | '！' => self.exclamations += 1,
            '?' | '？' => self.questions += 1,
            ',' | '，' | '、' => self.commas += 1,
            ';' | ':' | '；' | '：' => self.colons += 1,
            '(' | '[' | '（' => self.parentheses += 1,
            '"' | '“' | '„' | '«' | '「' => self.quotes += 1,
            '–' | '—' => self.dashes += 1,
            '…' => self.ellipses += 1,
            '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}' => self.emoji += 1,
            _ => {}
        }
    }
}

/// FNV-1a over characters, mixed at the end: the hash of a word, and of a phrase of word hashes.
pub(super) fn fnv(values: impl Iterator<Item = u64>) -> u64 {
    mix(values.fold(FNV_START, |hash, value| (hash ^ value).wrapping_mul(FNV_PRIME)))
}

/// The finaliser of splitmix64.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The hash of one lower-cased word, as [`Scan`] computes it.
pub(super) fn word_hash(word: &str) -> u64 {
    fnv(word.chars().map(|c| u64::from(plain(lower(c)))))
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

struct Building {
    hash: u64,
    characters: u32,
    syllables: u32,
    vowel: bool,
    last_e: bool,
    apostrophe: bool,
    digit: bool,
    capitals: u32,
}

impl Building {
    fn new() -> Self {
        Self {
            hash: FNV_START,
            characters: 0,
            syllables: 0,
            vowel: false,
            last_e: false,
            apostrophe: false,
            digit: false,
            capitals: 0,
        }
    }

    fn push(&mut self, c: char, low: char, counts: &mut Counts) {
        self.hash = (self.hash ^ u64::from(plain(low))).wrapping_mul(FNV_PRIME);
        self.characters += 1;
        let vowel = matches!(low, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
        self.last_e = low == 'e' && !self.vowel;
        if vowel && !self.vowel {
            self.syllables += 1;
        }
        self.vowel = vowel;
        self.apostrophe |= matches!(c, '\'' | '’');
        self.digit |= c.is_numeric();
        if c.is_alphabetic() {
            counts.letters += 1;
            if c.is_uppercase() {
                counts.capitals += 1;
                self.capitals += 1;
            }
        }
    }

    fn finish(self) -> Word {
        let silent = u32::from(self.last_e && self.syllables > 1);
        Word {
            hash: mix(self.hash),
            characters: self.characters,
            syllables: (self.syllables - silent).max(1),
            apostrophe: self.apostrophe,
            digit: self.digit,
            shouted: self.characters > 1 && self.capitals == self.characters,
        }
    }
}

/// The first character of the lower-case form: one for one, so that lengths keep.
fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// The curly apostrophe is the straight one.
fn plain(c: char) -> char {
    if c == '’' { '\'' } else { c }
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_sentences_are_those_a_reader_sees() {
        let scan = Scan::new("Don’t pay 3.5 %, e.g. today! Why?! \"No,\" she said");
        assert_eq!(scan.words.len(), 11);
        assert!(scan.words[0].apostrophe);
        assert_eq!(scan.words[0].hash, word_hash("don't"));
        let ends: Vec<(usize, char)> = scan.sentences.iter().map(|s| (s.words, s.end)).collect();
        assert_eq!(ends, [(6, '.'), (1, '!'), (1, '?'), (3, '\n')]);
        assert_eq!((scan.counts.exclamations, scan.counts.questions, scan.counts.commas), (2, 1, 2));
    }

    #[test]
    fn ideographs_are_words_and_layout_is_counted() {
        assert_eq!(Scan::new("日本語。はい").words.len(), 5);
        let scan = Scan::new("# Title\n\n- one\n* two\n3. three\n\n**bold** end…");
        let counts = scan.counts;
        assert_eq!((counts.bullets, counts.numbered, counts.markdown, counts.paragraphs), (2, 1, 2, 3));
        assert_eq!((counts.ellipses, counts.last), (1, Some('…')));
    }
}
