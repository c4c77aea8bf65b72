//! From tokens to text as it comes: whole characters only, and nothing that may still turn out to be a stop string.

/// The text of one completion, handed out piece by piece.
#[derive(Debug, Default)]
pub struct Unfolding {
    ids: Vec<u32>,
    /// Ids before this are never decoded again.
    window: usize,
    /// How much of the window's text was taken.
    taken: usize,
    /// Text that was taken and not handed out.
    held: String,
    stops: Vec<String>,
}

/// What a token brought.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// A stop string came: the text ends before it.
    pub stopped: bool,
}

/// Ids that are decoded before new ones, so that those are spelled as they are within a text.
const WINDOW: usize = 8;

impl Unfolding {
    pub fn new(stops: Vec<String>) -> Unfolding {
        Unfolding { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), ..Unfolding::default() }
    }

    /// Adds a token.
    pub fn add(&mut self, id: u32, decode: &dyn Fn(&[u32]) -> String) -> Piece {
        self.ids.push(id);
        let text = decode(&self.ids[self.window..]);
        // A character of several tokens shows as a replacement until it is whole.
        if text.ends_with('\u{fffd}') {
            return Piece { text: String::new(), stopped: false };
        }
        self.held += text.get(self.taken..).unwrap_or_default();
        self.taken = text.len();
        if self.ids.len() - self.window > 2 * WINDOW {
            let window = self.ids.len() - WINDOW;
            let shorter = decode(&self.ids[window..]);
            // Never in the middle of a character.
            if !shorter.starts_with('\u{fffd}') {
                (self.window, self.taken) = (window, shorter.len());
            }
        }
        self.hand_out()
    }

    /// What is left when no token follows.
    pub fn finish(&mut self, decode: &dyn Fn(&[u32]) -> String) -> Piece {
        let text = decode(&self.ids[self.window..]);
        self.held += text.get(self.taken..).unwrap_or_default();
        self.taken = text.len();
        let Piece { text, stopped } = self.hand_out();
        if stopped {
            return Piece { text, stopped };
        }
        Piece { text: text + &std::mem::take(&mut self.held), stopped }
    }

    fn hand_out(&mut self) -> Piece {
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let text = self.held[..at].to_string();
            self.held.clear();
            return Piece { text, stopped: true };
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let text = self.held[..self.held.len() - kept].to_string();
        self.held.drain(..text.len());
        Piece { text, stopped: false }
    }
}

/// How many bytes at the end of `text` begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    let ends = |count: &usize| stop.is_char_boundary(*count) && text.ends_with(&stop[..*count]);
    (1..=longest).rev().find(ends).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// Every byte is a token.
    fn decode(ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn unfold(text: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let mut unfolding = Unfolding::new(stops.iter().map(ToString::to_string).collect());
        let mut pieces = Vec::new();
        for byte in text.bytes() {
            let piece = unfolding.add(byte.into(), &decode);
            pieces.push(piece.text);
            if piece.stopped {
                return (pieces, true);
            }
        }
        let last = unfolding.finish(&decode);
        pieces.push(last.text);
        (pieces, last.stopped)
    }

    #[test]
    fn pieces_are_whole_characters_and_make_the_text() {
        let text = "Überdosis: 0,5 mg – 患者さん 🩺 and a long plain tail after it";
        let (pieces, stopped) = unfold(text, &[]);
        assert!(!stopped && pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn a_stop_string_ends_the_text_before_it_and_is_never_shown() {
        let (pieces, stopped) = unfold("answer B\n\nQuestion: next", &["\n\nQ", "zzz"]);
        assert!(stopped);
        assert_eq!(pieces.concat(), "answer B");
        assert_eq!(unfold("a\n\nb", &["\n\nQ"]), (["a", "", "", "\n\nb", ""].map(String::from).to_vec(), false));
        assert_eq!(unfold("end\n", &["\n\nQ"]).0.concat(), "end\n", "what only began like it is shown in the end");
    }

    #[test]
    fn bytes_that_are_no_character_are_shown_at_the_end() {
        let mut unfolding = Unfolding::new(Vec::new());
        assert_eq!(unfolding.add(0xe6, &decode).text, "");
        assert_eq!(unfolding.finish(&decode).text, "\u{fffd}");
    }
}
