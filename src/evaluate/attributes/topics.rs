use std::sync::LazyLock;

/// A prompt with what is worth saying about it.
#[derive(Debug)]
pub(super) struct Topic {
    /// Topic family; the `group` of its judgments.
    pub(super) family: &'static Family,
    /// x
    pub(super) prompt: &'static str,
    /// What it is about, as a noun phrase.
    pub(super) noun: &'static str,
    /// Concrete advice: an imperative without its full stop, and a clause that says why.
    pub(super) tips: Vec<(&'static str, &'static str)>,
}

/// Prompts of one kind, with the questions and jokes that suit them all.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) questions: Vec<&'static str>,
    pub(super) jokes: Vec<&'static str>,
}

/// All topics, in the order of the files under `topics/`.
pub(super) fn all() -> &'static [Topic] {
    static TOPICS: LazyLock<Vec<Topic>> =
        LazyLock::new(|| FILES.iter().flat_map(|file| parse(file)).collect());
    &TOPICS
}

const FILES: [&str; 4] = [
    include_str!("topics/home.txt"),
    include_str!("topics/body.txt"),
    include_str!("topics/work.txt"),
    include_str!("topics/leisure.txt"),
];

/// Reads the format of the files: `family`, `ask`, `joke` and `prompt … | noun` lines, then `- advice | reason`.
fn parse(file: &'static str) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for part in file.split("\nfamily ") {
        let part = part.strip_prefix("family ").unwrap_or(part);
        let (name, rest) = part.split_once('\n').unwrap_or((part, ""));
        let lines = |mark: &'static str| rest.lines().filter_map(move |line| line.strip_prefix(mark));
        // Parsed once in the life of a process, and kept to its end.
        let family: &'static Family = Box::leak(Box::new(Family {
            name,
            questions: lines("ask ").collect(),
            jokes: lines("joke ").collect(),
        }));
        for line in rest.lines() {
            if let Some((prompt, noun)) = line.strip_prefix("prompt ").and_then(|line| line.split_once(" | "))
            {
                topics.push(Topic { family, prompt, noun, tips: Vec::new() });
            } else if let Some(tip) = line.strip_prefix("- ").and_then(|line| line.split_once(" | ")) {
                topics.last_mut().expect("a tip follows its prompt").tips.push(tip);
            }
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_many_prompts_and_each_has_advice_questions_and_jokes() {
        let topics = all();
        assert!(topics.len() >= 150, "{}", topics.len());
        let prompts: HashSet<_> = topics.iter().map(|t| t.prompt).collect();
        assert_eq!(prompts.len(), topics.len());
        for topic in topics {
            assert!(topic.prompt.ends_with('?') && !topic.noun.is_empty(), "{}", topic.prompt);
            assert_eq!(topic.tips.len(), 4, "{}", topic.prompt);
            assert!(
                topic.family.questions.len() >= 4 && topic.family.jokes.len() >= 3,
                "{}",
                topic.family.name
            );
            for (advice, reason) in &topic.tips {
                for text in [advice, reason] {
                    assert!(!text.ends_with(['.', ',', ' ']) && text.split(' ').count() >= 2, "{text}");
                }
            }
        }
    }
}
