"""Tiny models with random weights, in the shapes of the architectures that the native engine knows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

WIDTH, INNER_WIDTH, HEADS, KEY_HEADS = 256, 512, 4, 2
CONTROLS = ["<|im_start|>", "<|im_end|>"]


class Shape(NamedTuple):
    """What differs between tiny models; `head_width` is of one head, `quantization` of all matrices.

    One that has a chat `template` has the control tokens for it, and knows space and line break.
    """

    architecture: str
    quantization: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32
    head_width: int = 64
    layers: int = 3
    has_biases: bool = False
    has_head_norms: bool = False
    has_sandwich_norms: bool = False
    has_own_head: bool = True
    window: int | None = None
    rotation_factor: float | None = None
    has_rotation_divisors: bool = False
    context: int = 512
    template: str | None = None
    pooling: gguf.PoolingType | None = None


# Answers in letters without sense, a thousand a second: for tests of what is around an engine.
CHAT = Shape(
    "llama",
    gguf.GGMLQuantizationType.Q8_0,
    layers=2,
    context=8192,
    template=(Path(__file__).parent / "templates" / "qwen3.jinja").read_text("utf-8"),
)


def write(path: Path, shape: Shape) -> Path:
    """Write a model of this shape to `path` and return it. The same shape gives the same model."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    _write_metadata(writer, shape)
    tokens = _write_tokenizer(writer, shape)
    for name, values in _tensors(shape, tokens):
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, _pack(values, shape.quantization), raw_dtype=shape.quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Blocks(NamedTuple):
    """Blocks of 256 weights: their bytes, where their f16 scales are, and the scales of weights that spread by 1."""

    size: int
    scales_at: int
    scales: tuple[float, ...]


# Weights of random codes with random factors: the second scale is that of the offsets, which makes the mean 0.
# Layouts as in ggml-common.h.
_K_BLOCKS = {
    gguf.GGMLQuantizationType.Q4_K: _Blocks(144, 0, (1 / 257, 7.5 / 257)),
    gguf.GGMLQuantizationType.Q5_K: _Blocks(176, 0, (1 / 524, 15.5 / 524)),
    gguf.GGMLQuantizationType.Q6_K: _Blocks(210, 208, (1 / 1366,)),
}


def _pack(values: np.ndarray, packing: gguf.GGMLQuantizationType) -> np.ndarray:
    """Pack a matrix; where the gguf package can't, make one up that spreads as much."""
    if packing not in _K_BLOCKS:
        return gguf.quants.quantize(values, packing)
    rows, columns = values.shape
    return random_blocks(rows, columns, packing, float(values.std()), np.random.default_rng(values.size))


def random_blocks(
    rows: int, columns: int, packing: gguf.GGMLQuantizationType, spread: float, random: np.random.Generator
) -> np.ndarray:
    """Return a matrix in `Q4_K`, `Q5_K` or `Q6_K` with random codes: rows of bytes."""
    size, scales_at, scales = _K_BLOCKS[packing]
    blocks = np.frombuffer(bytearray(random.bytes(rows * columns // 256 * size)), np.uint8)
    blocks = blocks.reshape(rows, columns // 256, size)
    halves = np.array(scales, np.float16) * np.float16(spread)
    blocks[:, :, scales_at : scales_at + 2 * len(scales)] = np.frombuffer(halves.tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def _write_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(INNER_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(500_000.0)
    if shape.pooling is not None:
        writer.add_pooling_type(shape.pooling)
    if shape.rotation_factor is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(shape.rotation_factor)
    if shape.window is not None:
        writer.add_sliding_window(shape.window)


def _write_tokenizer(writer: gguf.GGUFWriter, shape: Shape) -> int:
    """Write a tokenizer of words of one and two letters and return how many tokens it has.

    Every token is whole UTF-8: llama.cpp's server tells no probabilities of others.
    """
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(first + second for first in letters[32:48] for second in letters[32:42])]
    if shape.template is not None:
        # As the alphabet of GPT-2 writes space and line break.
        words += ["\u0120", "\u010a"]
        writer.add_chat_template(shape.template)
    controls = ["<|end|>", *(CONTROLS if shape.template is not None else [])]
    tokens = [*words, *controls]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words) + [gguf.TokenType.CONTROL] * len(controls))
    # llama.cpp refuses a file that has no merges at all.
    writer.add_token_merges(["A A"])
    writer.add_eos_token_id(len(words))
    writer.add_bos_token_id(len(words))
    writer.add_name(f"tiny {shape.architecture}")
    return len(tokens)


def _tensors(shape: Shape, tokens: int) -> list[tuple[str, np.ndarray]]:
    random = np.random.default_rng(len(shape.architecture))

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return np.asarray(random.standard_normal((rows, columns)) * gain / columns**0.5, np.float32)

    def norm(length: int) -> np.ndarray:
        return np.asarray(1 + 0.2 * random.standard_normal(length), np.float32)

    queries, keys = HEADS * shape.head_width, KEY_HEADS * shape.head_width
    # Logits some units apart: probabilities neither all alike nor all zero and one.
    tensors = [("token_embd.weight", matrix(tokens, WIDTH, 2.5)), ("output_norm.weight", norm(WIDTH))]
    if shape.has_own_head:
        # What chats is surer of itself, and hardly ever ends: its control tokens have a logit of 0 among large ones.
        head = matrix(tokens, WIDTH, 2.5 if shape.template is None else 3.5)
        if shape.template is not None:
            head[-1 - len(CONTROLS) :] = 0
        tensors.append(("output.weight", head))
    if shape.has_rotation_divisors:
        tensors.append(("rope_freqs.weight", np.linspace(1, 8, shape.head_width // 2, dtype=np.float32)))
    for layer in range(shape.layers):
        parts = {
            "attn_norm.weight": norm(WIDTH),
            "attn_q.weight": matrix(queries, WIDTH, 2.0),
            "attn_k.weight": matrix(keys, WIDTH, 2.0),
            "attn_v.weight": matrix(keys, WIDTH),
            "attn_output.weight": matrix(WIDTH, queries),
            "ffn_norm.weight": norm(WIDTH),
            "ffn_gate.weight": matrix(INNER_WIDTH, WIDTH, 2.0),
            "ffn_up.weight": matrix(INNER_WIDTH, WIDTH, 2.0),
            "ffn_down.weight": matrix(WIDTH, INNER_WIDTH),
        }
        if shape.has_biases:
            parts |= {f"attn_{part}.bias": 0.2 * norm(queries if part == "q" else keys) for part in "qkv"}
        if shape.has_head_norms:
            parts |= {f"attn_{part}_norm.weight": norm(shape.head_width) for part in "qk"}
        if shape.has_sandwich_norms:
            parts |= {f"post_{part}_norm.weight": norm(WIDTH) for part in ("attention", "ffw")}
        tensors += [(f"blk.{layer}.{part}", values) for part, values in parts.items()]
    return tensors
