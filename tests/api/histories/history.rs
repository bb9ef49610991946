//! What clients do, drawn at random.

use proptest::collection::vec;
use proptest::prelude::*;

/// People of a history.
pub(super) const PEOPLE: usize = 3;
/// Comparisons that clients bring of their own.
pub(super) const PAIRS: usize = 6;

/// What one client does. An index that is too large counts from the beginning again.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A comparison of the client's own is judged.
    Judge { person: usize, pair: usize, said: usize, heavy: bool },
    /// A question is asked.
    Ask { person: usize },
    /// One of the questions there were is answered.
    Answer { person: usize, which: usize, said: usize },
    /// One of the answers there were is taken back.
    Undo { person: usize, which: usize },
    /// A call of before is made again.
    Repeat { which: usize },
    /// A call of before is made twice at the same time, once through each server.
    Twice { person: usize, pair: usize, said: usize },
    /// The person is erased.
    Erase { person: usize },
    /// Another model is activated.
    Activate { second: bool },
    /// A server is killed, and started again.
    Kill,
}

/// What is done, and through which server first.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) replica: usize,
}

/// Rounds, one after the other; the steps of a round happen at the same time.
pub(super) type History = Vec<Vec<Step>>;

/// Every other history has each person's calls come to one server, which then remembers them.
pub(super) fn histories(replicas: usize) -> impl Strategy<Value = History> {
    let step = (acts(), 0..replicas).prop_map(|(act, replica)| Step { act, replica });
    (any::<bool>(), vec(vec(step, 1..5), 1..9)).prop_map(move |(at_home, mut history)| {
        for step in history.iter_mut().flatten() {
            if let (true, Some(person)) = (at_home, step.act.person()) {
                step.replica = person % replicas;
            }
        }
        history
    })
}

impl Act {
    fn person(&self) -> Option<usize> {
        match *self {
            Self::Judge { person, .. }
            | Self::Ask { person }
            | Self::Answer { person, .. }
            | Self::Undo { person, .. }
            | Self::Twice { person, .. }
            | Self::Erase { person } => Some(person),
            Self::Repeat { .. } | Self::Activate { .. } | Self::Kill => None,
        }
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let person = 0..PEOPLE;
    prop_oneof![
        6 => (person.clone(), 0..PAIRS, 0..5_usize, any::<bool>())
            .prop_map(|(person, pair, said, heavy)| Act::Judge { person, pair, said, heavy }),
        4 => person.clone().prop_map(|person| Act::Ask { person }),
        5 => (person.clone(), 0..8_usize, 0..5_usize)
            .prop_map(|(person, which, said)| Act::Answer { person, which, said }),
        3 => (person.clone(), 0..8_usize).prop_map(|(person, which)| Act::Undo { person, which }),
        4 => (0..64_usize).prop_map(|which| Act::Repeat { which }),
        2 => (person.clone(), 0..PAIRS, 0..5_usize)
            .prop_map(|(person, pair, said)| Act::Twice { person, pair, said }),
        1 => person.prop_map(|person| Act::Erase { person }),
        1 => any::<bool>().prop_map(|second| Act::Activate { second }),
        1 => Just(Act::Kill),
    ]
}
