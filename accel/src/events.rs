//! Frames of server-sent events, by the HTML standard, section 9.2.6.

/// Returns one frame: `id`, `event` and as many `data` lines as `data` has, then an empty line.
///
/// `None` when id or kind holds a line break or NUL, which would end or void their field.
#[must_use]
pub fn frame(event_id: &str, kind: &str, data: &[u8]) -> Option<Vec<u8>> {
    let is_line = |text: &str| !text.contains(['\n', '\r', '\0']);
    if !is_line(event_id) || !is_line(kind) {
        return None;
    }
    let mut bytes = Vec::with_capacity(event_id.len() + kind.len() + data.len() + 32);
    for (name, value) in [("id: ", event_id), ("event: ", kind)] {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    for line in lines(data) {
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes.push(b'\n');
    Some(bytes)
}

/// Splits at CR LF, LF or CR, as a reader of the stream does; empty data is one empty line.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            rest = None;
            return Some(text);
        };
        let width = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[end + width..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::frame;

    fn text(data: &str) -> Option<String> {
        frame("a:1", "text", data.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    #[test]
    fn one_line_is_one_field() {
        assert_eq!(text("{}").as_deref(), Some("id: a:1\nevent: text\ndata: {}\n\n"));
    }

    #[test]
    fn every_line_break_begins_a_field() {
        let expected = "id: a:1\nevent: text\ndata: a\ndata: b\ndata: \ndata: c\ndata: \n\n";
        assert_eq!(text("a\r\nb\n\rc\n").as_deref(), Some(expected));
    }

    #[test]
    fn no_data_is_an_empty_field() {
        assert_eq!(text("").as_deref(), Some("id: a:1\nevent: text\ndata: \n\n"));
    }

    #[test]
    fn id_and_kind_are_single_lines() {
        for wrong in ["a\n", "\r", "a\0b"] {
            assert_eq!(frame(wrong, "text", b""), None);
            assert_eq!(frame("a:1", wrong, b""), None);
        }
    }
}
