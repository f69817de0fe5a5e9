//! The alphabet of GPT-2's vocabularies, in which each byte is a printable character.
//! Source: `bytes_to_unicode` in <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.

/// How many bytes are not printable in Latin-1 and so stand at U+0100 and after.
const MOVED: u32 = 68;

/// Returns the byte that a character stands for.
fn byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100.. if code < 0x100 + MOVED => {
            let index = u8::try_from(code - 0x100).ok()?;
            Some(match index {
                0..=0x20 => index,
                0x21..=0x42 => index - 0x21 + 0x7f,
                _ => 0xad,
            })
        }
        _ => None,
    }
}

/// Returns the bytes that a vocabulary's text stands for; `None` when a character stands for no byte.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(text).ok()?.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{byte, decode};

    #[test]
    fn each_byte_has_one_character() {
        let mut bytes: Vec<u8> = (0..0x400).filter_map(char::from_u32).filter_map(byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn known_characters() {
        assert_eq!(decode("ĠhiĊÃ©".as_bytes()).as_deref(), Some("\u{20}hi\né".as_bytes()));
        assert_eq!(decode("ŃłġĢ".as_bytes()).as_deref(), Some(&[0xad, 0xa0, 0x7f, 0x80][..]));
        assert_eq!(decode("▁".as_bytes()), None);
        assert_eq!(decode(b"\xff"), None);
    }
}
