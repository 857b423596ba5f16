"""Bulk beyond one machine: a batch made at one service, done by workers, followed at another; files in a bucket."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
import pytest

from app.evidence.objects import Place

FILES = 6
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture
def site(make_service: Any, make_url: Any, make_wav: Any, bucket: Place, tmp_path: Path) -> Any:
    """Two services without workers of their own, and two workers; `site(name)` starts one of them."""
    assert bucket.endpoint and bucket.access_key_id and bucket.secret_access_key
    imports = tmp_path / "import" / "calls"
    imports.mkdir(parents=True)
    for number in range(FILES):
        (imports / f"{number}.wav").write_bytes(make_wav(seconds=0.2, tone_hz=300.0 + 10 * number))
    (imports / "raise_input-1.wav").write_bytes(make_wav(seconds=0.2, tone_hz=900.0))
    (imports / "broken.wav").write_bytes(b"no sound")
    common = {
        "EARWITNESS_DATABASE_URL": make_url("postgresql"),
        "EARWITNESS_EVIDENCE_URL": bucket.url,
        "EARWITNESS_EVIDENCE_ENDPOINT": bucket.endpoint,
        "EARWITNESS_EVIDENCE_ACCESS_KEY": bucket.access_key_id,
        "EARWITNESS_EVIDENCE_SECRET_KEY": bucket.secret_access_key,
        "EARWITNESS_IMPORT_DIR": str(imports.parent),
        "EARWITNESS_BATCH_AHEAD": "3",
    }

    def start(name: str) -> Any:
        folder = tmp_path / name
        folder.mkdir()
        script = "work_dummy.py" if name.startswith("worker") else "serve_dummy.py"
        workers = "1" if name.startswith("worker") else "0"
        return make_service(folder, script, EARWITNESS_WORKERS=workers, DUMMY_DELAY_S="0.5", **common).start()

    return start


def test_a_batch_made_at_one_service_is_done_by_workers_and_followed_at_another(
    site: Any, bucket: Place, wait_until: WaitUntil, tmp_path: Path
) -> None:
    services = [site("service-0"), site("service-1")]
    counts: list[int] = []
    with services[0].client() as first, services[1].client() as second, ThreadPoolExecutor(2) as threads:
        answer = first.post("/v1/batches", json={"name": "calls", "import_path": "calls"})
        assert answer.status_code == 202, answer.text
        at = answer.headers["location"]
        wait_until(lambda: second.get(at).json()["status"] == "RUNNING")  # its list is read by one of the services
        batch = second.get(at).json()
        assert (batch["total"], batch["done"]) == (FILES + 2, 0), "nobody works yet"
        workers = [threads.submit(site, f"worker-{number}") for number in range(2)]

        def over() -> bool:
            batch = second.get(at).json()
            counts.append(batch["done"])
            return batch["finished_at"] is not None

        wait_until(over)
        assert counts == sorted(counts) and set(counts) - {0, FILES}, "progress was to be seen"
        batch = second.get(at).json()
        assert batch == first.get(at).json()
        assert (batch["status"], batch["done"], batch["failed"], batch["entered"]) == ("DONE", FILES, 2, FILES + 2)
        rows = [json.loads(line) for line in second.get(f"{at}/results").text.splitlines()]
        assert second.get("/v1/audit/chain").json()["intact"] is True
    for process in (*services, *(worker.result() for worker in workers)):
        process.stop()
    assert {Path(row["path"]).name: (row["state"], row["failure_code"]) for row in rows} == {
        **{f"{number}.wav": ("DONE", None) for number in range(FILES)},
        "raise_input-1.wav": ("FAILED", "media_unreadable"),
        "broken.wav": ("FAILED", "unsupported_media"),
    }
    stored = {found["path"].rpartition("/")[2] for page in obstore.list(bucket.open()) for found in page}
    taken_in = [path for path in (tmp_path / "import" / "calls").iterdir() if path.name != "broken.wav"]
    assert stored == {hashlib.sha256(path.read_bytes()).hexdigest() for path in taken_in}
