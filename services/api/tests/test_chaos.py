"""Beyond one machine: services and workers of which some are killed, and every run that was accepted ends once."""

import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.analysis.models import AnalysisRecord
from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.evidence.objects import Place
from app.runs.models import DetectorRun

SEED = 20261124
LIMIT_S = 3_000  # on a machine that has other things to do
FAST = {
    "EARWITNESS_WORKER_HEARTBEAT": "0.5",
    "EARWITNESS_WORKER_LOST_AFTER": "4",  # a busy machine must not pass for dead ones
    "EARWITNESS_SHUTDOWN_GRACE": "1",
    "EARWITNESS_RUN_ATTEMPTS": "50",  # a kill hits some run each time; none may be given up for it here
    "EARWITNESS_MAX_QUEUED_RUNS": "5000",
    "DUMMY_DELAY_S": "0.1",  # long enough to be killed in
}


class Site:
    """Services and workers on one database and one evidence store."""

    def __init__(
        self, make_service: Any, folder: Path, *, services: int, workers: int, **environment: str
    ) -> None:
        common = {**FAST, **environment}
        self.url = environment["EARWITNESS_DATABASE_URL"]
        self.services = [
            make_service(self._folder(folder, f"service-{n}"), EARWITNESS_WORKERS="0", **common)
            for n in range(services)
        ]
        self.workers = [
            make_service(self._folder(folder, f"worker-{n}"), "work_dummy.py", EARWITNESS_WORKERS="2", **common)
            for n in range(workers)
        ]
        self.kills = 0

    @staticmethod
    def _folder(root: Path, name: str) -> Path:
        folder = root / name
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        for process in (*self.services, *self.workers):
            process.start()
        yield
        for process in (*self.services, *self.workers):
            process.stop()

    def kill_one(self, generator: random.Random) -> None:
        """A worker with its processes, without a warning; then start it again."""
        victim = generator.choice(self.workers)
        victim.kill()
        self.kills += 1
        victim.start()

    def send(self, contents: list[bytes], jobs: int, *, patient: int) -> dict[str, str]:
        """Upload and ask for `jobs` runs at all services; of each a SHA-256. Every `patient`-th is waited for."""
        expected: dict[str, str] = {}

        def client_of(number: int) -> None:
            with self.services[number].client() as client:
                for n in range(number, jobs, len(self.services)):
                    content = contents[n % len(contents)]
                    name = "raise_input-1.wav" if n % 10 == 9 else "a.wav"
                    answer = client.post("/v1/analysis/upload", files={"file": (name, content)})
                    assert answer.status_code == 201, answer.text
                    analysis_id = answer.json()["analysis_id"]
                    prefer = {} if n % patient == 0 else {"Prefer": "respond-async"}
                    answer = client.post(f"/v1/analysis/{analysis_id}/run", headers=prefer)
                    assert answer.status_code in ((200, 422) if n % patient == 0 else (202,)), answer.text
                    expected[analysis_id] = hashlib.sha256(content).hexdigest()

        threads = [threading.Thread(target=client_of, args=(n,)) for n in range(len(self.services))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return expected

    def under_way(self) -> int:
        with self.services[0].client() as client:
            totals = [
                client.get("/v1/analysis", params={"status": status, "limit": 1}).json()["total"]
                for status in ("QUEUED", "RUNNING")
            ]
        return sum(totals)


def check(site: Site, expected: dict[str, str], jobs: int) -> None:
    assert len(expected) == jobs
    database = Database(site.url)
    with database.read() as session:
        found = session.scalars(select(AnalysisRecord)).all()
        rows = session.scalars(select(DetectorRun)).all()
        ends = Counter(
            str(event.analysis_id)
            for event in audit.whole_chain(session)
            if event.event_type in (EventType.RUN_DONE, EventType.RUN_FAILED)
        )
    database.close()
    assert {str(record.id): record.sha256 for record in found} == expected
    assert Counter(str(run.analysis_id) for run in rows) == ends == Counter(expected.keys()), "not exactly once"
    by_id = {run.id: run for run in rows}
    for record in found:
        state = ("FAILED", "media_unreadable") if record.filename.startswith("raise_input") else ("DONE", None)
        assert (record.status, record.failure_code) == state
        assert record.run_id is not None
        run = by_id[record.run_id]
        assert (run.evidence_sha256, run.evidence_verified) == (expected[str(record.id)], True)
    with site.services[0].client() as client:
        assert client.get("/v1/audit/chain").json()["intact"] is True


def storm(site: Site, contents: list[bytes], *, jobs: int, kills: int, pause_s: float, patient: int) -> None:
    generator = random.Random(SEED)
    with site.running():
        expected: dict[str, str] = {}
        sending = threading.Thread(target=lambda: expected.update(site.send(contents, jobs, patient=patient)))
        sending.start()
        end = time.monotonic() + LIMIT_S
        while sending.is_alive() or site.under_way():
            assert time.monotonic() < end, f"{site.under_way()} runs do not end"
            time.sleep(generator.uniform(0.0, 2 * pause_s))
            if site.kills < kills:
                site.kill_one(generator)
        sending.join()
        check(site, expected, jobs)
    taken_over = sum(
        (worker.folder / "service.log").read_text().count('"run_of_lost_worker"') for worker in site.workers
    )
    print(f"{jobs} runs ended once each; {site.kills} workers killed, {taken_over} runs taken over from them")
    assert site.kills >= min(kills, 1)


def places(bucket: Place, make_url: Any) -> dict[str, str]:
    assert bucket.endpoint and bucket.access_key_id and bucket.secret_access_key
    return {
        "EARWITNESS_DATABASE_URL": make_url("postgresql"),
        "EARWITNESS_EVIDENCE_URL": bucket.url,
        "EARWITNESS_EVIDENCE_ENDPOINT": bucket.endpoint,
        "EARWITNESS_EVIDENCE_ACCESS_KEY": bucket.access_key_id,
        "EARWITNESS_EVIDENCE_SECRET_KEY": bucket.secret_access_key,
    }


def test_of_two_workers_one_is_killed_and_every_run_ends_once(
    make_service: Any, make_url: Any, make_wav: Any, bucket: Place, tmp_path: Path
) -> None:
    site = Site(make_service, tmp_path, services=1, workers=2, **places(bucket, make_url))
    contents = [make_wav(seconds=0.2, tone_hz=300.0 + 10 * n) for n in range(4)]
    storm(site, contents, jobs=20, kills=1, pause_s=0.3, patient=5)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_of_three_workers_some_are_killed_throughout_and_2000_runs_end_once_each(
    make_service: Any, make_url: Any, make_wav: Any, bucket: Place, tmp_path: Path
) -> None:
    site = Site(make_service, tmp_path, services=2, workers=3, **places(bucket, make_url))
    contents = [make_wav(seconds=0.2 + 0.1 * (n % 5), tone_hz=300.0 + 10 * n) for n in range(40)]
    storm(site, contents, jobs=2_000, kills=1_000, pause_s=2.0, patient=20)
    assert site.kills >= 10
