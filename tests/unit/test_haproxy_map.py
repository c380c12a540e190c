"""The durable default's file: whole or not at all, and never behind what was written later."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdigris.traffic.data_plane import TrafficError
from verdigris.traffic.haproxy_map import FILE_BYTES_MAX, Durable, read_file, write_file

DURABLES = st.builds(
    Durable, default=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), newest=st.integers(-1, 2**63 - 1),
    lease=st.none() | st.integers(0, 2**63 - 1),
)  # fmt: skip


@given(DURABLES)
def test_what_is_written_is_read(durable: Durable) -> None:
    assert Durable.read(durable.entries()) == durable


@given(DURABLES, DURABLES)
def test_of_two_at_most_one_is_behind(one: Durable, other: Durable) -> None:
    assert not (one.is_behind(other) and other.is_behind(one))
    assert not one.is_behind(one)


def test_the_file_is_what_haproxy_reads(tmp_path: Path) -> None:
    path = tmp_path / "v.map"
    write_file(str(path), Durable("green", 7, None))
    assert path.read_text() == "default green\nnewest 7\nlease none\n"
    assert read_file(str(path)) == Durable("green", 7, None)
    assert [file.name for file in tmp_path.iterdir()] == ["v.map"]


def test_comments_and_spaces_are_read_as_haproxy_does(tmp_path: Path) -> None:
    path = tmp_path / "v.map"
    path.write_text("# kept by Verdigris\n\n  default   blue\nnewest 3\nlease 3 \n")
    assert read_file(str(path)) == Durable("blue", 3, 3)


@pytest.mark.parametrize(
    ("there", "wanted", "written"),
    [
        (Durable("green", 7, None), Durable("blue", 6, 6), False),
        (Durable("green", 7, None), Durable("blue", 7, 7), False),
        (Durable("green", 7, None), Durable("blue", 7, None), True),
        (Durable("blue", 7, 7), Durable("green", 7, None), True),
        (Durable("blue", 7, 7), Durable("blue", 8, 8), True),
    ],
)
def test_a_guard_that_comes_late_changes_nothing(tmp_path: Path, there: Durable, wanted: Durable, written: bool) -> None:  # noqa: FBT001
    path = str(tmp_path / "v.map")
    write_file(path, there)
    write_file(path, wanted)
    assert read_file(path) == (wanted if written else there)


@pytest.mark.parametrize("spoilt", ["", "default blue\n", "default blue\nnewest -3\nlease none\n", "default blue\nnewest x\nlease 1\n"])
def test_a_spoilt_file_is_told_and_cured_by_writing(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "v.map"
    path.write_text(spoilt)
    with pytest.raises(TrafficError, match="default, newest and lease"):
        read_file(str(path))
    write_file(str(path), Durable("blue", 1, None))
    assert read_file(str(path)) == Durable("blue", 1, None)


def test_a_huge_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(TrafficError, match="longer than"):
        read_file(str(tmp_path / "huge"))
    with pytest.raises(TrafficError, match="cannot be read"):
        read_file(str(tmp_path / "missing"))


def test_a_file_that_cannot_be_written_says_what_a_restart_would_do(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="a restart of it would"):
        write_file(str(tmp_path / "no-folder" / "v.map"), Durable("green", 7, None))


def test_the_old_file_stays_when_the_new_one_cannot_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "v.map")
    write_file(path, Durable("blue", 1, None))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrafficError, match="No space left"):
        write_file(path, Durable("green", 2, None))
    assert read_file(path) == Durable("blue", 1, None)
    assert [file.name for file in tmp_path.iterdir()] == ["v.map"]


def test_the_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "v.map"
    write_file(str(path), Durable("blue", 1, None))
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o640)
    write_file(str(path), Durable("blue", 2, None))
    assert path.stat().st_mode & 0o777 == 0o640
