"""An upsampling by 2 that a convolution of dilation 2 follows, border included, as means of a coarse result.

:mod:`converter.passes.upsample_convolution` computes the convolution C before the upsampling U, and finds that, along
an axis of n pixels, pixel 2i + 1 of the result is (C(x)[i] + C(x)[i + 1]) / 2 except at i = 0 and i = n - 2. There the
tap that lies beyond the border must not count, but it does: at i = 0 it is the first tap of C(x)[1], which reads x[0].
With C'(x)[1] computed without this tap, and C'(x)[n - 2] without the last tap, the pixels at the border are means too:

    (C(x)[0] + C'(x)[1]) / 2    and    (C'(x)[n - 2] + C(x)[n - 1]) / 2.

So the coarse result is kept with these rows (and columns) between the others: C[0], C'[1], C[1], C[2], ..., C[n - 2],
C'[n - 2], C[n - 1], which makes n + 2 of them.
"""

from __future__ import annotations

import numpy as np

from ...arrays import Ints

SMALLEST = 3
"""With fewer pixels, both borders meet in one."""

ALL_TAPS = (0, 3, 0, 3)
"""Of a line: from top to bottom and from left to right."""


def pairs(n: int) -> Ints:
    """For each of the 2n - 1 pixels of an axis, the two places among the n + 2 of which it is the mean.

    Returns:
        (2n - 1, 2); twice the same place where the pixel is a coarse one.
    """

    def place(i: int) -> int:
        return 0 if i == 0 else n + 1 if i == n - 1 else i + 1

    result = []
    for i in range(n - 1):
        result.append((place(i), place(i)))
        result.append((n if i == n - 2 else place(i), 1 if i == 0 else place(i + 1)))
    return np.array([*result, (n + 1, n + 1)], np.int32)


def lines(height: int, width: int) -> list[tuple[int, ...]]:
    """The lines that make the coarse result of a 3x3 convolution; see ``structures.LINE``."""
    result = []
    for row, rows, out_row, top, bottom in _segments(height):
        for column, columns, out_column, left, right in _segments(width):
            taps = (top, bottom, left, right)
            if columns == 1:
                result.append((row, column, out_row, out_column, rows, 1, *taps))
            else:
                result += [(row + k, column, out_row + k, out_column, columns, 0, *taps) for k in range(rows)]
    return sorted(result, key=lambda line: -line[4])


def _segments(n: int) -> list[tuple[int, int, int, int, int]]:
    """Pixels of an axis that are computed alike: (first pixel, count, place of the first, taps from, to)."""
    return [(0, 1, 0, 0, 3), (1, n - 2, 2, 0, 3), (n - 1, 1, n + 1, 0, 3), (1, 1, 1, 1, 3), (n - 2, 1, n, 0, 2)]
