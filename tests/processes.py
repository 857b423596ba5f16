"""What the kernel tells of running processes: tests and benchmarks count memory and processor time by it."""

import os
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and all that it started: memory is counted over them together."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def memory_kib(pid: int, name: str = "VmRSS") -> int:
    """`VmRSS` (now) or `VmHWM` (the peak since it was last reset) of one process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def cpu_s(pid: int) -> float:
    """Processor time of the process and all that it started, in ticks of 10 ms."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / os.sysconf("SC_CLK_TCK")
