"""Step B2: what is stored comes back equal, whole and in order, whoever else is writing."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord, Status
from app.analysis.repository import RecordFilter
from app.audit import repository as audit
from app.audit.chain import check_chain
from app.audit.models import EventType
from app.database import Database
from earwitness.finding import Verdict

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_insert_and_fetch_gives_every_field_back(database: Database, new_record: Any) -> None:
    record = new_record(
        verdict=Verdict.DEEPFAKE,
        confidence=0.93,
        p_fake=0.93,
        llr=2.6,
        explanations=["Zwei Stellen fallen auf: „ö“."],
        signals={"speech_s": 3.5, "snr_db": None},
        abstentions=[],
        duration_s=4.25,
        model_version="audio-1",
        processing_ms=2**40,
        status=Status.DONE,
    )
    expected = {column.key: getattr(record, column.key) for column in AnalysisRecord.__table__.columns}
    with database.write() as session:
        records.add(session, record)
        expected["id"] = record.id
        expected["created_at"], expected["updated_at"] = record.created_at, record.updated_at
    with database.read() as session:
        fetched = records.get(session, record.id)
        assert fetched is not None and fetched is not record
        assert {name: getattr(fetched, name) for name in expected} == expected


def test_ids_are_uuids_and_times_are_aware_utc(database: Database, new_record: Any) -> None:
    with database.write() as session:
        record = new_record()
        records.add(session, record)
    with database.read() as session:
        fetched = records.get(session, record.id)
        assert fetched is not None
        assert isinstance(fetched.id, uuid.UUID)
        assert fetched.created_at.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - fetched.created_at) < timedelta(minutes=1)


def test_naive_times_are_refused(database: Database, new_record: Any) -> None:
    with pytest.raises(StatementError, match="aware"), database.write() as session:
        records.add(session, new_record(created_at=datetime(2026, 1, 1)))  # noqa: DTZ001  the point of the test


def test_times_of_other_zones_are_the_same_instant(database: Database, new_record: Any) -> None:
    elsewhere = NOON.astimezone(datetime.now().astimezone().tzinfo)
    with database.write() as session:
        record = new_record(created_at=elsewhere)
        records.add(session, record)
    with database.read() as session:
        fetched = records.get(session, record.id)
        assert fetched is not None and fetched.created_at == NOON


def test_20_parallel_inserts_lose_and_corrupt_nothing(database: Database, new_record: Any) -> None:
    def insert(number: int) -> uuid.UUID:
        with database.write() as session:
            record = new_record(filename=f"{number}.wav", size_bytes=number + 1)
            records.add(session, record)
            audit.append(
                session, EventType.EVIDENCE_RECEIVED, actor="a", analysis_id=record.id, details={"n": number}
            )
        return record.id

    with ThreadPoolExecutor(20) as threads:
        ids = list(threads.map(insert, range(20)))
    with database.read() as session:
        items, total = records.page(session, RecordFilter(), limit=50, offset=0)
        assert total == 20
        assert {item.id: (item.filename, item.size_bytes) for item in items} == {
            analysis_id: (f"{number}.wav", number + 1) for number, analysis_id in enumerate(ids)
        }
        assert check_chain(audit.whole_chain(session)).intact


def test_of_20_parallel_claims_for_a_run_exactly_one_wins(database: Database, new_record: Any) -> None:
    with database.write() as session:
        record = new_record()
        records.add(session, record)

    def claim(_number: int) -> bool:
        with database.write() as session:
            return records.claim_for_run(session, record.id, uuid.uuid4(), "a")

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(claim, range(20))) == 1


def test_a_run_ends_once_and_only_where_it_is_under_way(database: Database, new_record: Any) -> None:
    record, run_id = new_record(), uuid.uuid4()
    done = {"status": Status.DONE, "verdict": Verdict.AUTHENTIC}
    with database.write() as session:
        records.add(session, record)
        records.claim_for_run(session, record.id, run_id, "a")
        assert not records.show_end(session, record.id, run_id, done)  # it has not begun
        assert records.mark_running(session, record.id, run_id)
        assert not records.show_end(session, record.id, uuid.uuid4(), done)  # another run
        shown = records.show_end(session, record.id, run_id, done)
        assert shown is not None and shown.status is Status.DONE
        assert not records.show_end(session, record.id, run_id, {**done, "verdict": Verdict.DEEPFAKE})
    with database.read() as session:
        ended = records.get(session, record.id)
        assert ended is not None and (ended.status, ended.verdict) == (Status.DONE, Verdict.AUTHENTIC)


def test_a_failed_transaction_leaves_nothing(database: Database, new_record: Any) -> None:
    record = new_record()
    with pytest.raises(RuntimeError), database.write() as session:
        records.add(session, record)
        raise RuntimeError
    with database.read() as session:
        assert records.page(session, RecordFilter(), limit=1, offset=0) == ([], 0)


def test_equal_times_are_ordered_by_id(database: Database, new_record: Any) -> None:
    with database.write() as session:
        for _ in range(5):
            records.add(session, new_record(created_at=NOON))
    with database.read() as session:
        pages = [records.page(session, RecordFilter(), limit=1, offset=n)[0][0].id for n in range(5)]
        assert pages == sorted(pages, reverse=True)


def test_what_is_acknowledged_is_committed_durably_and_marks_soon(database: Database) -> None:
    question = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    durable, soon = (2, 1) if database.is_sqlite else ("on", "off")
    for expected, transaction in (
        (durable, database.write),
        (soon, database.write_soon),
        (durable, database.write),
    ):
        with transaction() as session:  # on one pooled connection: what one transaction asks for must not stay
            assert session.scalar(text(question)) == expected
