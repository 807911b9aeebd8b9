"""The Triton kernels: on a GPU where there is one, in Triton's interpreter else, and compiled for a GPU in any case.

The interpreter shows that the arithmetic is right; what it accepts the compiler may refuse, hence the second test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")

CASES = Path(__file__).with_name("triton_cases.py")


def run(arguments: list[str], *, interpret: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_INTERPRET": "1"} if interpret else {}
    made = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr


def test_the_kernels_are_right() -> None:
    run(["-m", "pytest", "-p", "no:cacheprovider", str(CASES)], interpret=not torch.cuda.is_available())


COMPILE = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pytorch_icnet.imaging.fused import triton_blob, triton_labels

def check(kernel, constants, **signature):
    types = signature | dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    assert len(made.asm["cubin"]) > 1000
    assert not re.findall(r"fma[.]", made.asm["ptx"])

for taps in (2, 3):
    for rows_first in (False, True):
        check(
            triton_blob._make,
            {"ROW_TAPS": taps, "COLUMN_TAPS": 2, "ROWS_FIRST": rows_first, "PIXELS": 256},
            image="*u8", planes="*fp32", table="*fp32", rows="*i32", row_weights="*fp64", columns="*i32",
            column_weights="*fp64", height="i32", width="i32", image_width="i32", red="i32", green="i32", blue="i32",
        )
for classes, zoom in ((19, 4), (1, 1)):
    check(
        triton_labels._label,
        {"CLASSES": classes, "ZOOM": zoom, "MARGIN": 2**-10, "RELATIVE": 2**-20, "ROWS": 4, "COLUMNS": 32,
         "CORNER_ROWS": 2, "CORNER_COLUMNS": 16},
        scores="*fp32", labels="*u8", uncertain="*i64", notes="*i32", row_first="*i32", row_weights="*fp32",
        column_first="*i32", column_weights="*fp32", height="i32", width="i32", corner_height="i32",
        corner_width="i32", capacity="i32", doubt="fp32",
    )
"""


def test_the_kernels_compile_for_a_gpu() -> None:
    """Down to machine code, for compute capability 9.0, and with no product and sum contracted into one operation."""
    run(["-c", COMPILE], interpret=False)
