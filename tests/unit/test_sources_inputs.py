"""Which files a person means."""

import os
from pathlib import Path

import pytest

from verdigris.telemetry.sources import InputNotFound, NothingToRead, expand


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.json", "a.json", "deep/er/c.json", ".hidden.json", ".git/d.json", "odd[1].json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(folder: Path, *inputs: str) -> list[str]:
    return [os.path.relpath(source.name, folder) for source in expand([str(folder / given) for given in inputs])]


def test_a_folder_is_read_recursively_sorted_and_without_hidden_entries(folder: Path) -> None:
    assert names(folder, "") == ["a.json", "b.json", "deep/er/c.json", "odd[1].json"]


def test_patterns_cross_folders_and_are_sorted(folder: Path) -> None:
    assert names(folder, "**/*.json") == ["a.json", "b.json", "deep/er/c.json", "odd[1].json"]
    assert names(folder, "[ab].json") == ["a.json", "b.json"]


def test_a_folder_matched_by_a_pattern_is_expanded(folder: Path) -> None:
    assert names(folder, "de*") == ["deep/er/c.json"]


def test_inputs_keep_their_order_and_a_file_named_twice_is_read_once(folder: Path) -> None:
    (folder / "link.json").symlink_to(folder / "b.json")
    assert names(folder, "b.json", "link.json", "") == ["b.json", "a.json", "deep/er/c.json", "odd[1].json"]


def test_a_path_that_exists_is_taken_literally(folder: Path) -> None:
    assert names(folder, "odd[1].json") == ["odd[1].json"]


def test_links_to_folders_and_pipes_in_folders_are_not_followed(folder: Path) -> None:
    (folder / "deep" / "loop").symlink_to(folder)
    os.mkfifo(folder / "deep" / "pipe")
    assert names(folder, "deep") == ["deep/er/c.json"]


def test_a_pipe_that_is_named_is_a_source_of_unknown_size(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert expand([str(folder / "pipe")])[0].size_bytes is None


def test_standard_input_is_one_source_of_unknown_size() -> None:
    (source,) = expand(["-", "-"])
    assert (source.name, source.size_bytes) == ("standard input", None)


def test_sizes_are_those_on_disk(folder: Path) -> None:
    assert [source.size_bytes for source in expand([str(folder / "a.json")])] == [1]


@pytest.mark.parametrize(
    ("given", "error", "advice"),
    [
        ("nowhere.json", InputNotFound, "check the spelling"),
        ("*.xml", NothingToRead, "no file matches"),
        ("empty", NothingToRead, "holds no file"),
        ("dangling", InputNotFound, "check the path"),
    ],
)
def test_what_names_no_file_says_what_to_do(folder: Path, given: str, error: type[Exception], advice: str) -> None:
    (folder / "empty").mkdir()
    (folder / "dangling").symlink_to(folder / "gone")
    with pytest.raises(error, match=advice):
        expand([str(folder / given)])


def test_no_input_at_all_says_what_to_do() -> None:
    with pytest.raises(NothingToRead, match="no input was named"):
        expand([])
