"""Thousands of runs through one service: what it holds after many is what it held after some.

SOAK_RUNS says how many (10,000). The shipped detector, SQLite, two worker processes; two clients, who upload short
recordings, one of them silent, and ask for several runs of each, and who upload what is no recording.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.audio_files import write_audio
from tests.processes import family, memory_kib
from tests.speechlike import speechlike

RUNS = int(os.environ.get("SOAK_RUNS", "10000"))
WARM_SHARE = 0.1  # the first runs fill pools, caches and the allocator's arenas, which stay
LEAST_WARM = 300
CLIENTS = 2
RUNS_OF_EACH = 5
CLIP_S = 1.5
SPOILT = b"fLaC" + bytes(2_000)
GROWTH_MAX_MIB = 10.0
LOOKS = 10


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_memory_does_not_grow_over_ten_thousand_runs(make_service: Callable[..., Any], tmp_path: Path) -> None:
    sounds = [
        ("wav", write_audio(tmp_path / "a.wav", speechlike(CLIP_S, 1)).read_bytes()),
        ("mp3", write_audio(tmp_path / "a.mp3", speechlike(CLIP_S, 2), codec="libmp3lame").read_bytes()),
        ("m4a", write_audio(tmp_path / "a.m4a", speechlike(CLIP_S, 3), codec="aac").read_bytes()),
        ("flac", write_audio(tmp_path / "a.flac", np.zeros(24_000, np.float32), codec="flac").read_bytes()),
    ]
    service = make_service(
        tmp_path, SERVE_THE_REAL_ONE="1", EARWITNESS_WORKERS="2", EARWITNESS_LOG_LEVEL="ERROR"
    ).start()
    assert service.process is not None
    pid: int = service.process.pid
    answers: Counter[str] = Counter()
    asked = iter(range(0, RUNS, RUNS_OF_EACH))
    lock = threading.Lock()
    held: list[tuple[int, dict[int, float]]] = []
    looks = sorted({max(LEAST_WARM, round(RUNS * WARM_SHARE)), *(RUNS * n // LOOKS for n in range(2, LOOKS + 1))})

    def client_of() -> None:
        with service.client() as client:
            while True:
                with lock:
                    number = next(asked, None)
                    if len(held) < len(looks) and answers.total() >= looks[len(held)]:
                        held.append((answers.total(), {one: memory_kib(one) / 1024 for one in family(pid)}))
                if number is None:
                    return
                suffix, sound = sounds[(number // RUNS_OF_EACH) % len(sounds)]
                sent = client.post("/v1/analysis/upload", files={"file": (f"{number}.{suffix}", sound)})
                assert sent.status_code == 201, sent.text
                refused = client.post("/v1/analysis/upload", files={"file": (f"{number}.flac", SPOILT)})
                assert refused.status_code == 415, refused.text
                for _ in range(RUNS_OF_EACH):
                    answer = client.post(f"/v1/analysis/{sent.json()['analysis_id']}/run")
                    assert answer.status_code == 200, answer.text
                    with lock:
                        answers[answer.json()["verdict"]] += 1

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            client_of()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    held.append((answers.total(), {one: memory_kib(one) / 1024 for one in family(pid)}))
    for runs, by_process in held:
        told = ", ".join(f"{mib:.1f}" for mib in by_process.values())
        print(
            f"after {runs} runs: the service and its processes hold {told} MiB; {sum(by_process.values()):.1f} in all"
        )
    first, last = held[0][1], held[-1][1]
    growth = {one: last[one] - mib for one, mib in first.items() if one in last}
    print(
        f"growth {', '.join(f'{mib:+.1f}' for mib in growth.values())} MiB; {sum(growth.values()):+.1f} MiB in all"
    )
    assert answers.total() >= RUNS
    assert first.keys() == last.keys(), "a process died and was replaced"
    assert sum(growth.values()) < GROWTH_MAX_MIB
