"""Strings that are hard on tokenizers: many scripts, code, white space, joined emoji, and what looks special."""

from __future__ import annotations

from random import Random

# The first and last code point of blocks; ASCII more often than the others.
BLOCKS = [
    *[(0x20, 0x7E)] * 6,
    *[(0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF)],
    *[(0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F)],
    *[(0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x20A0, 0x20CF)],
    *[(0x2100, 0x214F), (0x2190, 0x22FF), (0x2460, 0x257F), (0x2600, 0x26FF), (0x3000, 0x30FF), (0x4E00, 0x9FFF)],
    *[(0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0x10000, 0x100FF)],
    *[(0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF)],
    *[(0x20000, 0x2A6DF), (0xE0001, 0xE007F), (0x10FFF0, 0x10FFFF)],
]
WORDS = [
    *["the", "of", "and", "don't", "I'll", "WE'RE", "it's", "'S", "can't"],
    *["hello", "World", "HTTPServer", "snake_case", "12345", "3.14", "1,000,000", "0xFF", "$100"],
    *["€5", "naïve", "café", "Straße", "résumé", "Ελληνικά", "русский", "हिन्दी", "العربية"],
    *["עברית", "日本語", "中文字", "한국어", "ไทย", "ⅷ", "²", "٣٤", "Ⅻ"],
    # A long s, which some rules take for an s.
    "\u017f'\u017f",
]
CODE = [
    "def f(x):\n    return x ** 2  # square\n",
    "if (a && b) {\n\tc->d += 1;\n}\r\n",
    "SELECT * FROM t WHERE a='b';",
    '<div class="x">&nbsp;</div>',
    "x = [i for i in range(10) if i % 2 == 0]\n\n\n",
    '{"key": [1, 2.5e-3, null]}',
    "#!/bin/sh\nset -euo pipefail\n",
    "\\begin{equation} e^{i\\pi} \\end{equation}",
]
SPACES = [
    *[" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028"],
    *["\u0085", "\x0b", "\x0c", " " * 17, "\n" * 9],
]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️‍🔥", "1️⃣", "🧑🏿‍🚀"]
LOOKALIKES = [
    *["<|im_", "im_end|>", "<|", "|>", "<", "<s>", "</s>", "<unk>", "<0x0A>", "▁", "▁▁", "Ġ", "Ċ", "<|endoftext"],
    *["[INST]", "<start_of_turn", "[EMPTY_3]", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<bos>"],
]


def strings(seed: int, count: int) -> list[str]:
    """Return `count` strings, the same for the same seed."""
    random = Random(seed)
    return ["".join(part(random) for _ in range(random.randint(1, 14))) for _ in range(count)]


def part(random: Random) -> str:
    kind = random.choices([WORDS, CODE, SPACES, EMOJI, LOOKALIKES, "letters", "number"], [30, 5, 15, 5, 10, 30, 5])[0]
    if kind == "letters":
        first, last = random.choice(BLOCKS)
        return "".join(chr(random.randint(first, last)) for _ in range(random.randint(1, 12)))
    if kind == "number":
        return str(random.randint(0, 10 ** random.randint(1, 12)))
    return random.choice(["", " "] if kind is WORDS else [""]) + random.choice(kind)
