"""Step B3: a filename is a label and can do no harm."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evidence.names import ACCEPTED_SUFFIXES, MAX_FILENAME_CHARACTERS, clean_filename, extension
from earwitness.sources import MEDIA_SUFFIXES


@pytest.mark.parametrize(
    ("given_name", "label"),
    [
        ("voice.wav", "voice.wav"),
        ("../../evil.wav", "evil.wav"),
        ("..\\..\\evil.wav", "evil.wav"),
        ("/etc/passwd", "passwd"),
        ("C:\\fakepath\\a.mp3", "a.mp3"),
        ("a\x00b.wav", "ab.wav"),
        ("a\r\nSet-Cookie: x.wav", "aSet-Cookie: x.wav"),
        ("gpj\u202e.wav", "gpj.wav"),
        ("\u200b.\u200b.\u200b/evil.wav", "evil.wav"),
        ("  spaced.wav  ", "spaced.wav"),
        ("Müller „Zitat“.wav", "Müller „Zitat“.wav"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("dir/", "unnamed"),
        ("\udcff.wav", "wav"),
    ],
)
def test_clean_filename(given_name: str, label: str) -> None:
    assert clean_filename(given_name) == label


def test_a_long_name_keeps_its_extension() -> None:
    label = clean_filename("x" * 5_000 + ".wav")
    assert len(label) == MAX_FILENAME_CHARACTERS
    assert label.endswith(".wav")


@given(st.text())
def test_no_name_becomes_a_path_or_holds_control_characters(name: str) -> None:
    label = clean_filename(name)
    assert 1 <= len(label) <= MAX_FILENAME_CHARACTERS
    assert "/" not in label and "\\" not in label and label not in (".", "..")
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in label)


@given(st.text())
def test_cleaning_twice_changes_nothing_more(name: str) -> None:
    assert clean_filename(clean_filename(name)) == clean_filename(name)


@pytest.mark.parametrize(
    ("label", "expected"), [("a.WAV", "wav"), ("a.tar.gz", "gz"), ("wav", ""), (".wav", ""), ("a.", "")]
)
def test_extension(label: str, expected: str) -> None:
    assert extension(label) == expected


def test_an_upload_may_be_named_like_what_the_command_line_takes() -> None:
    assert ACCEPTED_SUFFIXES is MEDIA_SUFFIXES
