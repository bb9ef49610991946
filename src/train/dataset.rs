use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use sha2::{Digest, Sha256};

use crate::domain::{Comparison, ContentHash, Invalid, Judgment, PairKey, UserId, Weight};
use crate::math::factorization::Observation;

/// Index of a distinct (prompt, response) in a [`Dataset`].
pub type TextId = usize;

/// Judgments of many people, with every prompt, text, pair and user stored once.
///
/// Users, texts and pairs are numbered in the order of their contents and rows are sorted by (user, pair, outcome),
/// so that nothing computed from a dataset depends on the order of the lines it came from, nor on which answer a
/// line called A.
#[derive(Debug, Clone)]
pub struct Dataset {
    prompts: Vec<String>,
    groups: Vec<String>,
    users: Vec<UserId>,
    texts: Vec<StoredText>,
    pairs: Vec<Pair>,
    rows: Vec<Row>,
    lines: usize,
    equal: usize,
}

/// One judgment, by indices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Index into [`Dataset::users`].
    pub user: usize,
    /// Index into [`Dataset::pairs`].
    pub pair: usize,
    /// a ∈ [0, 1]: 1 where the pair's `first` was preferred.
    pub preference: f64,
    /// w > 0: how much it counts; 1 for lines of a file.
    pub weight: f64,
}

impl Row {
    /// Whether one of the two was preferred.
    pub fn is_decided(&self) -> bool {
        self.preference != 0.5
    }
}

/// Two responses to one prompt; `first` is the text that sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// y₁
    pub first: TextId,
    /// y₂
    pub second: TextId,
    /// Index into [`Dataset::prompts`].
    pub prompt: usize,
    /// Kind of prompt or topic: an index for [`Dataset::group`].
    group: usize,
}

#[derive(Debug, Clone)]
struct StoredText {
    prompt: usize,
    response: String,
}

impl Dataset {
    /// The judgments given, with lines that compare a text with itself counted in nothing.
    pub fn from_judgments<'a>(judgments: impl IntoIterator<Item = &'a Judgment>) -> Self {
        let mut builder = Builder::default();
        for judgment in judgments {
            builder.push(judgment);
        }
        builder.build()
    }

    /// Distinct users, sorted.
    pub fn users(&self) -> &[UserId] {
        &self.users
    }

    /// Distinct prompts, sorted.
    pub fn prompts(&self) -> &[String] {
        &self.prompts
    }

    /// Distinct pairs without regard to order, sorted by their texts.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// All judgments, a user's repeats of a pair included, sorted by user.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Number of distinct (prompt, response).
    pub fn text_count(&self) -> usize {
        self.texts.len()
    }

    /// The (prompt, response) of a text.
    pub fn text(&self, text: TextId) -> (&str, &str) {
        let stored = &self.texts[text];
        (&self.prompts[stored.prompt], &stored.response)
    }

    /// The group of a pair; empty where the file says nothing.
    pub fn group(&self, pair: usize) -> &str {
        &self.groups[self.pairs[pair].group]
    }

    /// The key of a pair.
    pub fn pair_key(&self, pair: usize) -> PairKey {
        let Pair { first, second, .. } = self.pairs[pair];
        PairKey::new(self.text(first).0, self.text(first).1, self.text(second).1)
    }

    /// A row with its texts: `first` as response A.
    pub fn judgment(&self, row: &Row) -> Judgment {
        let pair = self.pairs[row.pair];
        let (prompt, first) = self.text(pair.first);
        Judgment {
            user_id: self.users[row.user].clone(),
            comparison: Comparison {
                prompt: prompt.to_owned(),
                response_a: first.to_owned(),
                response_b: self.text(pair.second).1.to_owned(),
            },
            preference: row.preference,
            group: self.group(row.pair).to_owned(),
        }
    }

    /// All rows with their texts.
    pub fn judgments(&self) -> impl Iterator<Item = Judgment> + '_ {
        self.rows.iter().map(|row| self.judgment(row))
    }

    /// Some rows as the factorization takes them.
    pub fn observations(&self, rows: &[usize]) -> Vec<Observation> {
        let observation = |&row: &usize| {
            let Row { user, pair, preference, weight } = self.rows[row];
            let Pair { first, second, .. } = self.pairs[pair];
            Observation { user, first, second, preference, weight }
        };
        rows.iter().map(observation).collect()
    }

    /// Lines read, those that were skipped included.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Lines skipped because they compare a text with itself, which tells nothing.
    pub fn equal(&self) -> usize {
        self.equal
    }

    /// The rows of `keep` as a dataset of their own, with only the users and texts that they name.
    pub fn select(&self, keep: impl IntoIterator<Item = usize>) -> Self {
        Self::from_judgments(
            keep.into_iter().map(|row| self.judgment(&self.rows[row])).collect::<Vec<_>>().iter(),
        )
    }

    /// SHA-256 (hex) over the judgments as a multiset: independent of the order of lines, and of which answer a
    /// line called A.
    pub fn digest(&self) -> String {
        let hashes: Vec<ContentHash> = (0..self.texts.len())
            .map(|text| {
                let (prompt, response) = self.text(text);
                ContentHash::new(prompt, response)
            })
            .collect();
        let mut hasher = Sha256::new();
        for row in &self.rows {
            let pair = self.pairs[row.pair];
            let user = self.users[row.user].as_str();
            hasher.update((user.len() as u64).to_le_bytes());
            hasher.update(user.as_bytes());
            hasher.update(hashes[pair.first].0);
            hasher.update(hashes[pair.second].0);
            hasher.update(row.preference.to_le_bytes());
            hasher.update(row.weight.to_le_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

/// Collects judgments one by one; every text is kept once.
#[derive(Debug, Default)]
pub struct Builder {
    prompts: Interner<String>,
    groups: Interner<String>,
    users: Interner<UserId>,
    /// One table of responses for each prompt.
    responses: Vec<HashMap<String, usize>>,
    texts: usize,
    pairs: HashMap<(usize, usize), usize>,
    /// (prompt, group) of each pair.
    about: Vec<(usize, usize)>,
    rows: Vec<Row>,
    lines: usize,
    equal: usize,
}

/// One line of a preference file with every field there and a preference from 0 to 1; borrowed where it can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) user_id: &'a str,
    pub(super) prompt: &'a str,
    pub(super) response_a: &'a str,
    pub(super) response_b: &'a str,
    pub(super) preference: f64,
    pub(super) group: &'a str,
}

impl Builder {
    /// Adds a judgment of weight 1.
    pub fn push(&mut self, judgment: &Judgment) {
        self.push_weighted(judgment, Weight::ONE);
    }

    /// Adds a judgment.
    pub fn push_weighted(&mut self, judgment: &Judgment, weight: Weight) {
        let user = self.users.id(judgment.user_id.as_str(), || judgment.user_id.clone());
        let c = &judgment.comparison;
        let judged = (judgment.preference, weight.get());
        self.insert(user, &c.prompt, (&c.response_a, &c.response_b), judged, &judgment.group);
    }

    /// Checks a line and adds it; a line whose two responses are equal is counted and left out.
    pub(super) fn parse(&mut self, line: Line<'_>) -> Result<(), Invalid> {
        let user = match self.users.ids.get(line.user_id) {
            Some(&user) => user,
            None => {
                let name = UserId::parse(line.user_id)?;
                self.users.id(line.user_id, || name)
            }
        };
        if line.prompt.trim().is_empty() {
            return Err(Invalid::new("prompt", format!("{:?}", line.prompt), "text that is not blank"));
        }
        self.insert(
            user,
            line.prompt,
            (line.response_a, line.response_b),
            (line.preference, 1.0),
            line.group,
        );
        Ok(())
    }

    fn insert(
        &mut self,
        user: usize,
        prompt: &str,
        (a, b): (&str, &str),
        (preference, weight): (f64, f64),
        group: &str,
    ) {
        self.lines += 1;
        if a == b {
            self.equal += 1;
            return;
        }
        let prompt = self.prompts.id(prompt, || prompt.to_owned());
        let group = self.groups.id(group, || group.to_owned());
        let (low, high, preference) = if a < b { (a, b, preference) } else { (b, a, 1.0 - preference) };
        let (low, high) = (self.text(prompt, low), self.text(prompt, high));
        let fresh = self.pairs.len();
        let pair = *self.pairs.entry((low, high)).or_insert(fresh);
        if pair == fresh {
            self.about.push((prompt, group));
        }
        self.rows.push(Row { user, pair, preference, weight });
    }

    fn text(&mut self, prompt: usize, response: &str) -> usize {
        if self.responses.len() <= prompt {
            self.responses.resize_with(prompt + 1, HashMap::new);
        }
        let table = &mut self.responses[prompt];
        if let Some(&id) = table.get(response) {
            return id;
        }
        let id = self.texts;
        self.texts += 1;
        table.insert(response.to_owned(), id);
        id
    }

    /// Lines seen so far, skipped ones included.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Numbers everything by content and sorts the rows.
    pub fn build(self) -> Dataset {
        let (prompts, prompt_rank) = self.prompts.sorted();
        let (groups, group_rank) = self.groups.sorted();
        let (users, user_rank) = self.users.sorted();

        let mut by_content: Vec<(usize, String, usize)> = Vec::with_capacity(self.texts);
        for (prompt, table) in self.responses.into_iter().enumerate() {
            by_content.extend(table.into_iter().map(|(response, id)| (prompt_rank[prompt], response, id)));
        }
        by_content.sort_unstable();
        let mut text_rank = vec![0; self.texts];
        let texts = (by_content.into_iter().enumerate())
            .map(|(rank, (prompt, response, id))| {
                text_rank[id] = rank;
                StoredText { prompt, response }
            })
            .collect();

        let mut by_texts: Vec<(Pair, usize)> = (self.pairs.into_iter())
            .map(|((low, high), id)| {
                let (prompt, group) = self.about[id];
                let pair = Pair {
                    first: text_rank[low],
                    second: text_rank[high],
                    prompt: prompt_rank[prompt],
                    group: group_rank[group],
                };
                (pair, id)
            })
            .collect();
        by_texts.sort_unstable();
        let mut pair_rank = vec![0; by_texts.len()];
        for (rank, &(_, id)) in by_texts.iter().enumerate() {
            pair_rank[id] = rank;
        }

        let mut rows = self.rows;
        for row in &mut rows {
            row.user = user_rank[row.user];
            row.pair = pair_rank[row.pair];
        }
        rows.sort_unstable_by(|a, b| {
            let values = a.preference.total_cmp(&b.preference).then(a.weight.total_cmp(&b.weight));
            (a.user, a.pair).cmp(&(b.user, b.pair)).then(values)
        });
        let pairs = by_texts.into_iter().map(|(pair, _)| pair).collect();
        Dataset { prompts, groups, users, texts, pairs, rows, lines: self.lines, equal: self.equal }
    }
}

/// Strings numbered by first appearance.
#[derive(Debug)]
struct Interner<K> {
    ids: HashMap<K, usize>,
}

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { ids: HashMap::new() }
    }
}

impl<K: Borrow<str> + Hash + Ord> Interner<K> {
    fn id(&mut self, text: &str, owned: impl FnOnce() -> K) -> usize {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = self.ids.len();
        self.ids.insert(owned(), id);
        id
    }

    /// The strings sorted, and each old number's place among them.
    fn sorted(self) -> (Vec<K>, Vec<usize>) {
        let mut entries: Vec<(K, usize)> = self.ids.into_iter().collect();
        entries.sort_unstable();
        let mut rank = vec![0; entries.len()];
        for (place, &(_, id)) in entries.iter().enumerate() {
            rank[id] = place;
        }
        (entries.into_iter().map(|(text, _)| text).collect(), rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgment(user: &str, prompt: &str, a: &str, b: &str, preference: f64) -> Judgment {
        Judgment {
            user_id: UserId::parse(user).unwrap(),
            comparison: Comparison { prompt: prompt.into(), response_a: a.into(), response_b: b.into() },
            preference,
            group: String::new(),
        }
    }

    #[test]
    fn neither_line_order_nor_which_answer_was_called_a_matters() {
        let lines = [
            judgment("u", "x", "b", "a", 1.0),
            judgment("v", "y", "c", "d", 0.25),
            judgment("u", "y", "d", "c", 0.5),
        ];
        let turned = [
            judgment("u", "y", "c", "d", 0.5),
            judgment("u", "x", "a", "b", 0.0),
            judgment("v", "y", "d", "c", 0.75),
        ];
        let (one, other) = (Dataset::from_judgments(&lines), Dataset::from_judgments(&turned));
        assert_eq!(one.rows(), other.rows());
        assert_eq!(one.pairs(), other.pairs());
        assert_eq!(one.digest(), other.digest());
        assert_eq!((one.users().len(), one.pairs().len(), one.text_count()), (2, 2, 4));
        assert_eq!(one.judgments().next().unwrap(), judgment("u", "x", "a", "b", 0.0));
        assert_eq!(one.pair_key(0), PairKey::new("x", "b", "a"));
    }

    #[test]
    fn the_digest_counts_repeats_and_sees_every_field() {
        let line = judgment("u", "x", "a", "b", 1.0);
        let digest = |lines: &[Judgment]| Dataset::from_judgments(lines).digest();
        let once = digest(std::slice::from_ref(&line));
        assert_ne!(once, digest(&[line.clone(), line]));
        for other in [
            judgment("v", "x", "a", "b", 1.0),
            judgment("u", "y", "a", "b", 1.0),
            judgment("u", "x", "", "b", 1.0),
            judgment("u", "x", "a", "b", 0.0),
        ] {
            assert_ne!(once, digest(&[other]));
        }
    }

    #[test]
    fn equal_responses_are_counted_and_left_out() {
        let data =
            Dataset::from_judgments(&[judgment("u", "x", "a", "a", 1.0), judgment("u", "x", "a", "", 1.0)]);
        assert_eq!((data.lines(), data.equal(), data.rows().len(), data.text_count()), (2, 1, 1, 2));
    }

    #[test]
    fn a_selection_holds_only_what_its_rows_name() {
        let data =
            Dataset::from_judgments(&[judgment("u", "x", "a", "b", 1.0), judgment("v", "y", "a", "b", 0.0)]);
        let part = data.select([1]);
        assert_eq!(part.users(), [UserId::parse("v").unwrap()]);
        assert_eq!((part.prompts(), part.text_count()), (["y".to_owned()].as_slice(), 2));
    }
}
