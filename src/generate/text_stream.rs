use crate::model::{LanguageModel, ModelError};

/// Token ids to text, piece by piece: what is given out is whole characters, and never part of a stop text.
pub(super) struct TextStream {
    /// The tokens whose text depends on what comes next, after some that were given out already: a decoder may write a token
    /// differently at the beginning of a text.
    ids: Vec<u32>,
    /// How many of `ids` were given out.
    given: usize,
    stops: Vec<String>,
    /// Text that may turn out to be the beginning of a stop text.
    held: String,
}

/// Tokens of the prompt that a completion's first token is decoded after.
const CONTEXT: usize = 6;

/// What a token brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Text that is sure now; may be empty.
    pub(super) text: String,
    /// Whether a stop text was reached.
    pub(super) stopped: bool,
}

impl TextStream {
    pub(super) fn new(prompt: &[u32], stops: &[String]) -> Self {
        let ids = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        Self { given: ids.len(), ids, stops: stops.to_vec(), held: String::new() }
    }

    pub(super) fn push(&mut self, token: u32, model: &LanguageModel) -> Result<Piece, ModelError> {
        self.ids.push(token);
        let (before, now) = (model.decode(&self.ids[..self.given])?, model.decode(&self.ids)?);
        // The bytes of a character may be several tokens; until all are there it reads as a replacement character.
        if now.len() <= before.len() || now.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(Piece { text: String::new(), stopped: false });
        }
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(self.pass(&new))
    }

    /// What was held back, once nothing comes any more: half a character reads as a replacement character.
    pub(super) fn finish(mut self, model: &LanguageModel) -> Result<String, ModelError> {
        let (before, now) = (model.decode(&self.ids[..self.given])?, model.decode(&self.ids)?);
        let rest = now.get(before.len()..).unwrap_or_default().to_owned();
        let piece = self.pass(&rest);
        Ok(if piece.stopped { piece.text } else { piece.text + &self.held })
    }

    /// What of the text so far can be given out.
    fn pass(&mut self, new: &str) -> Piece {
        self.held.push_str(new);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return Piece { text: std::mem::take(&mut self.held), stopped: true };
        }
        let open = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        let sure = self.held.char_indices().map(|(at, _)| at).find(open).unwrap_or(self.held.len());
        let rest = self.held.split_off(sure);
        Piece { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool, String) {
        let stops: Vec<_> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TextStream::new(&[], &stops);
        let mut given = Vec::new();
        for piece in pieces {
            let piece = stream.pass(piece);
            given.push(piece.text);
            if piece.stopped {
                return (given, true, stream.held);
            }
        }
        (given, false, stream.held)
    }

    #[test]
    fn nothing_is_held_back_without_stops() {
        assert_eq!(passed(&[], &["a", "é", ""]), (vec!["a".into(), "é".into(), "".into()], false, "".into()));
    }

    #[test]
    fn a_stop_text_over_several_pieces_is_never_given_out() {
        let (given, stopped, _) = passed(&["\n\nUser:"], &["Hello", ".\n", "\nUse", "r: more"]);
        assert_eq!((given.concat().as_str(), stopped), ("Hello.", true));
        // It was the beginning of nothing.
        let (given, stopped, held) = passed(&["\n\nUser:"], &["Hello\n", "\nUs", "ual"]);
        assert_eq!((given.concat().as_str(), stopped, held.as_str()), ("Hello\n\nUsual", false, ""));
    }

    #[test]
    fn the_first_of_several_stops_counts() {
        let (given, stopped, _) = passed(&["END", "é"], &["abé", "END"]);
        assert_eq!((given.concat().as_str(), stopped), ("ab", true));
        let (given, stopped, held) = passed(&["aab"], &["a", "a", "a", "a"]);
        assert_eq!((given.concat().as_str(), stopped, held.as_str()), ("aa", false, "aa"));
    }
}
