#!/usr/bin/env python3
"""Writes fixtures/blocks.safetensors: quantised blocks with any bits (scales finite), and the numbers that the gguf package's
numpy code makes of them. Needs: gguf, numpy, safetensors.

    python3 make_blocks.py
"""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type, quants
from safetensors.numpy import save_file

HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_K: [0, 2], Type.Q6_K: [208]}  # offsets of binary16 numbers in a block
BYTES = {Type.Q8_0: 34, Type.Q4_0: 18, Type.Q4_K: 144, Type.Q6_K: 210}
BLOCKS = 12


def blocks_of(type_, rng):
    blocks = rng.integers(0, 256, (BLOCKS, BYTES[type_]), dtype=np.uint8)
    for offset in HALVES[type_]:
        half = rng.normal(0, 0.1, BLOCKS).astype(np.float16)
        half[0], half[1], half[2] = 0, np.float16(6e-8), np.float16(65504)  # zero, the smallest subnormal, the largest
        blocks[:, offset:offset + 2] = half.view(np.uint8).reshape(BLOCKS, 2)
    return blocks


def main():
    rng = np.random.default_rng(20240607)
    tensors = {}
    for type_ in HALVES:
        blocks = blocks_of(type_, rng)
        tensors[f"{type_.name}.blocks"] = blocks
        tensors[f"{type_.name}.values"] = quants.dequantize(blocks, type_).astype(np.float32).reshape(-1)
    save_file(tensors, pathlib.Path(__file__).parent / "fixtures" / "blocks.safetensors")


if __name__ == "__main__":
    main()
