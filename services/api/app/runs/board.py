"""How far runs are: seconds of sound, in memory that the workers share with whoever waits for them.

    board = Board(context, places=2)          # board.cells goes to each worker as it starts
    with board.place() as place:
        ...                                   # the worker writes to cells[place.number]
        place.examined_s()

Made before a worker shuts itself in, it costs neither a message nor a system call. What stands in it comes from a
process that decodes untrusted media: it is shown as progress and decides nothing.
"""

import ctypes
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import TypeAlias

from earwitness.media import MediaLimits

NOTHING = -1.0
MOST_S = MediaLimits().max_duration_s

Cells: TypeAlias = ctypes.Array[ctypes.c_double]


class Board:
    def __init__(self, context: BaseContext, places: int) -> None:
        self.cells: Cells = context.RawArray(ctypes.c_double, [NOTHING] * places)
        self._free = list(range(places))
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place for one run; one without a number, where nothing is ever told, if all are taken."""
        with self._lock:
            number = self._free.pop() if self._free else None
        if number is not None:
            self.cells[number] = NOTHING
        try:
            yield Place(number, self.cells)
        finally:
            if number is not None:
                with self._lock:
                    self._free.append(number)


@dataclass(frozen=True, slots=True)
class Place:
    number: int | None
    _cells: Cells

    def examined_s(self) -> float | None:
        """None where nothing was told yet, or nothing that can be."""
        if self.number is None:
            return None
        told = float(self._cells[self.number])
        return told if math.isfinite(told) and 0.0 <= told <= MOST_S else None
