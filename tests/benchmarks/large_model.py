"""A model of a billion parameters with random weights, in the shape of Llama 3.2 1B and the packing that people use.

What it says is nonsense, but it takes as long to say as sense would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Packing

from tests.accel.tiny_models import random_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "1.24B shape Q4_K"
WIDTH, INNER_WIDTH, LAYERS, HEADS, KEY_HEADS, HEAD_WIDTH, TOKENS = 2048, 8192, 16, 32, 8, 64, 128_256


def write(path: Path) -> Path:
    """Write the model, some 770 MB, to `path` and return it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    # A token for each letter, so that any text has tokens, and numbers for the rest of a large vocabulary.
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"<{number}>" for number in range(TOKENS - len(letters) - 1)), "<|end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (TOKENS - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["A A"])
    writer.add_eos_token_id(TOKENS - 1)
    writer.add_bos_token_id(TOKENS - 1)
    random = np.random.default_rng(1)
    for name, rows, columns, packing in _tensors():
        if rows == 1:
            writer.add_tensor_info(name, [columns], np.dtype(np.float32), columns * 4)
        else:
            block, size = gguf.GGML_QUANT_SIZES[packing]
            shape = [rows, columns // block * size]
            writer.add_tensor_info(name, shape, np.dtype(np.uint8), shape[0] * shape[1], packing)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, rows, columns, packing in _tensors():
        if rows == 1:
            writer.write_tensor_data(np.ones(columns, np.float32))
        else:
            writer.write_tensor_data(random_blocks(rows, columns, packing, columns**-0.5, random))
    writer.close()
    return path


def _tensors() -> Iterator[tuple[str, int, int, Packing]]:
    """Yield names, rows, columns and packings; those of one row are norms."""
    keys = KEY_HEADS * HEAD_WIDTH
    yield "token_embd.weight", TOKENS, WIDTH, Packing.Q6_K
    yield "output_norm.weight", 1, WIDTH, Packing.F32
    for layer in range(LAYERS):
        for part, rows, columns in (
            ("attn_norm", 1, WIDTH),
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", keys, WIDTH),
            ("attn_v", keys, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_norm", 1, WIDTH),
            ("ffn_gate", INNER_WIDTH, WIDTH),
            ("ffn_up", INNER_WIDTH, WIDTH),
            ("ffn_down", WIDTH, INNER_WIDTH),
        ):
            yield f"blk.{layer}.{part}.weight", rows, columns, Packing.Q4_K
