/// Finds stop texts in a stream, across the borders of its pieces.
pub(super) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: String::new(),
        }
    }

    /// The text that is certainly part of the answer, and whether a stop text has come.
    pub(super) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.undecided();
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back when the answer ends otherwise.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end that may become a stop text.
    fn undecided(&self) -> usize {
        let begins = |stop: &String| {
            let ends = stop.char_indices().map(|(at, _)| at).skip(1);
            ends.filter(|end| {
                stop.get(..*end)
                    .is_some_and(|beginning| self.held.ends_with(beginning))
            })
            .max()
        };
        self.stops.iter().filter_map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = String::new();
        for piece in pieces {
            let (text, stopped) = matcher.push(piece);
            out.push_str(&text);
            if stopped {
                return (out, true);
            }
        }
        (out + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_text_is_found_across_pieces() {
        assert_eq!(
            run(&["END"], &["one E", "N", "D two"]),
            ("one ".to_owned(), true)
        );
        assert_eq!(run(&["\n\n"], &["a\n", "\nb"]), ("a".to_owned(), true));
        assert_eq!(run(&["。\n"], &["好。", "\n"]), ("好".to_owned(), true));
    }

    #[test]
    fn a_beginning_that_stays_one_is_given_back() {
        assert_eq!(run(&["END"], &["one E", "N"]), ("one EN".to_owned(), false));
        assert_eq!(
            run(&["aab"], &["a", "a", "a", "b", "c"]),
            ("a".to_owned(), true)
        );
    }

    #[test]
    fn the_earliest_of_several_counts() {
        assert_eq!(run(&["y", "x"], &["axby"]), ("a".to_owned(), true));
    }
}
