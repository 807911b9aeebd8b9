"""Times of a video's frames, exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

COARSE = Fraction(1, 1000)
"""Containers such as Matroska keep whole milliseconds, which most frame rates do not fall on."""

_FINEST = 1 << 31
"""Ticks per second that files can say."""


@dataclass(frozen=True)
class ClipTiming:
    """What a video says of its times."""

    rate: Fraction
    """Frames per second; of one with a variable rate the nominal or mean rate."""
    tick: Fraction
    """Seconds, of which all of its times are multiples."""

    @property
    def grid(self) -> Fraction:
        """Seconds, of which the times of the frames and the period of the rate are multiples."""
        if self.tick < COARSE:
            return self.tick
        ticks = math.lcm(self.tick.denominator, (1 / self.rate).denominator)
        return Fraction(1, ticks) if ticks < _FINEST else self.tick

    def exact(self, time: Fraction) -> Fraction:
        """The time that a coarsely rounded one stands for: a multiple of the period if one is within half a tick."""
        nearest = round(time * self.rate) / self.rate
        if self.tick >= COARSE and abs(nearest - time) <= self.tick / 2 and (nearest / self.grid).denominator == 1:
            return nearest
        return time


class Clock:
    """Gives each frame its time, from zero and strictly rising, whatever the file says."""

    def __init__(self, clip: ClipTiming) -> None:
        self._clip = clip
        self._start: Fraction | None = None
        self._last: Fraction | None = None

    def time(self, stamp: Fraction | None) -> Fraction:
        """The time in seconds of the next frame, whose time stamp, in seconds, is ``stamp``, or is missing."""
        following = Fraction(0) if self._last is None else self._last + 1 / self._clip.rate
        if self._start is None:
            self._start = stamp
        time = following if stamp is None or self._start is None else self._clip.exact(stamp - self._start)
        if self._last is not None and time <= self._last:
            time = following
        self._last = time
        return time
