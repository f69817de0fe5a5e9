//! Text that comes in pieces: whole characters only, and nothing of what may yet become a stop string.

/// Turns the bytes of tokens into text as soon as it is sure.
///
/// Bytes that are no UTF-8 become U+FFFD as Python's `errors="replace"` has it: one for each maximal part of a
/// character (Unicode 3.9, "substitution of maximal subparts").
#[derive(Debug, Default)]
pub struct TextStream {
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// What may become a stop string.
    held: String,
    stops: Vec<String>,
    stop: Option<usize>,
}

impl TextStream {
    /// A stream that ends before the first of `stops`: the one that is whole first, of several the longest, however
    /// the text is cut up. Empty ones are left out.
    #[must_use]
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), ..Self::default() }
    }

    /// Takes the bytes of a token and returns the text that is now sure, maybe none.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stop.is_some() {
            return String::new();
        }
        self.bytes.extend_from_slice(bytes);
        let text = self.take_characters(false);
        self.deliver(&text)
    }

    /// The answer is over: returns what was held back.
    pub fn finish(&mut self) -> String {
        if self.stop.is_some() {
            return String::new();
        }
        let text = self.take_characters(true);
        let mut delivered = self.deliver(&text);
        if self.stop.is_none() {
            delivered.push_str(&std::mem::take(&mut self.held));
        }
        delivered
    }

    /// The stop string that ended the text.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&str> {
        self.stop.map(|stop| self.stops[stop].as_str())
    }

    /// Takes the characters that are whole; the rest waits, or is replaced when nothing more comes.
    fn take_characters(&mut self, is_last: bool) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        let mut taken = self.bytes.len();
        let mut chunks = self.bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            // Only at the end, and only what the decoder would go on with, may become a character.
            if !is_last && chunks.peek().is_none() && is_beginning(invalid) {
                taken -= invalid.len();
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.bytes.drain(..taken);
        text
    }

    /// Appends to what is held back and returns what can't become a stop string any more.
    fn deliver(&mut self, text: &str) -> String {
        if self.stops.is_empty() {
            return text.to_owned();
        }
        self.held.push_str(text);
        let found = self.stops.iter().enumerate().filter_map(|(stop, text)| {
            let start = self.held.find(text)?;
            Some((start + text.len(), start, stop))
        });
        if let Some((_, start, stop)) = found.min() {
            self.stop = Some(stop);
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let sure = self.held.len() - self.longest_beginning();
        self.held.drain(..sure).collect()
    }

    /// Bytes at the end of what is held that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0).saturating_sub(1);
        let start = self.held.len().saturating_sub(longest);
        self.held
            .bytes()
            .enumerate()
            .skip(start)
            .map(|(index, _)| &self.held.as_bytes()[index..])
            .find(|end| self.stops.iter().any(|stop| stop.as_bytes().starts_with(end)))
            .map_or(0, <[u8]>::len)
    }
}

/// Whether more bytes could make a character of these, which are no UTF-8 as they stand.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TextStream;

    fn stream(parts: &[&[u8]], stops: &[&str]) -> (String, Option<String>) {
        let mut stream = TextStream::new(stops.iter().map(ToString::to_string));
        let mut text: String = parts.iter().map(|part| stream.push(part)).collect();
        text.push_str(&stream.finish());
        (text, stream.stopped_by().map(ToOwned::to_owned))
    }

    #[test]
    fn characters_come_whole() {
        let mut stream = TextStream::default();
        let parts: Vec<String> = "aé👍".bytes().map(|byte| stream.push(&[byte])).collect();
        assert_eq!(parts, ["a", "", "é", "", "", "", "👍"]);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn what_is_no_text_is_replaced_part_by_part() {
        // CPython 3.11: bytes.decode("utf-8", "replace").
        for (bytes, expected) in [
            (&b"\xf0\x9f\x91"[..], "\u{fffd}"),
            (b"a\xf0\x9fb", "a\u{fffd}b"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc0\xaf\xff", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe2\x82\xe2\x82\xac", "\u{fffd}€"),
        ] {
            for split in 0..=bytes.len() {
                let (left, right) = bytes.split_at(split);
                assert_eq!(stream(&[left, right], &[]).0, expected, "{bytes:x?} at {split}");
            }
        }
    }

    #[test]
    fn only_what_may_become_a_stop_string_is_held_back() {
        let mut stream = TextStream::new(["<end>".to_owned()]);
        assert_eq!(stream.push(b"a <"), "a ");
        assert_eq!(stream.push(b"en"), "");
        assert_eq!(stream.push(b"tity> <"), "<entity> ");
        assert_eq!(stream.finish(), "<");
        assert_eq!(stream.stopped_by(), None);
    }

    #[test]
    fn the_first_stop_string_ends_the_text_at_every_split() {
        let text = "one twö STOP three END";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let stopped = stream(&parts, &["END", "STOP", ""]);
                assert_eq!(stopped, ("one twö ".to_owned(), Some("STOP".to_owned())));
            }
        }
    }

    #[test]
    fn nothing_comes_after_the_stop() {
        let mut stream = TextStream::new(["b".to_owned()]);
        assert_eq!(stream.push(b"abc"), "a");
        assert_eq!(stream.push(b"d"), "");
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_text_before_the_first_stop(
            bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xc3), Just(0xa9), any::<u8>()], 0..24),
            cuts in prop::collection::vec(0usize..24, 0..4),
            stops in prop::collection::vec("[ab\u{fffd}é]{1,3}", 0..3),
        ) {
            let whole = String::from_utf8_lossy(&bytes).into_owned();
            let found = stops.iter().filter_map(|stop| whole.find(stop).map(|start| (start + stop.len(), start)));
            let end = found.min().map(|(_, start)| start);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (text, stop) = stream(&parts, &stops);
            prop_assert_eq!(&text, &whole[..end.unwrap_or(whole.len())]);
            prop_assert_eq!(stop.is_some(), end.is_some());
        }
    }
}
