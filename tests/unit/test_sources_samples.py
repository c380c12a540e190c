"""Recordings of other systems, as their users have them: every span is accounted for.

The recordings are not part of the project; without them these tests are skipped.
"""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from verdigris.telemetry.sources import Reading, expand, file_source

SHARED = Path(__file__).parents[3] / "shared" / "data"
FORMATS = SHARED / "formats"
SAMPLES = [path for name in ("jaeger", "crisp", "zipkin", "otlp") for path in sorted((FORMATS / name).glob("*"))]

pytestmark = pytest.mark.skipif(not FORMATS.is_dir(), reason=f"the sample recordings are not at {FORMATS}")


def spans_in(value: Any) -> int:
    """Counts spans by their ids alone, knowing nothing of the formats' structure."""
    if isinstance(value, list):
        return sum(map(spans_in, value))
    if not isinstance(value, dict):
        return 0
    is_span = "startTimeUnixNano" in value or "operationName" in value or ("id" in value and "traceId" in value)
    return int(is_span) + sum(map(spans_in, value.values()))


@pytest.mark.parametrize("path", SAMPLES, ids=[f"{path.parent.name}/{path.name}" for path in SAMPLES])
def test_every_span_of_a_sample_is_a_row_or_named(path: Path) -> None:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    spans = spans_in(json.loads(content))
    reading = Reading([file_source(path)])
    rows = sum(batch.num_rows for batch in reading)
    assert spans > 0
    assert rows == reading.counts.spans
    assert rows + sum(reading.counts.refused.values()) + reading.counts.problems == spans
    # The only spans left out are the 84 in one recording that have no timestamp.
    assert reading.counts.problems == (84 if path.name.startswith("smartthings-mobile") else 0)


def test_a_folder_of_samples_is_read_in_one_go() -> None:
    reading = Reading(expand([str(FORMATS)]))
    rows = sum(batch.num_rows for batch in reading)
    assert rows == reading.counts.spans == 1290
    other = [problem for problem in reading.problems if "timestamp" not in problem.what]
    assert [Path(problem.source).name for problem in other] == ["robotshop.csv.xz"]
    assert "comma-separated" in other[0].what


def test_a_recording_of_the_file_exporter() -> None:
    path = SHARED / "traces" / "tt0130-13" / "candidate.jsonl.xz"
    with lzma.open(path) as lines:
        spans = sum(line.count(b'"spanId"') for line in lines)
    reading = Reading([file_source(path)])
    assert sum(batch.num_rows for batch in reading) == spans > 0
    assert reading.counts.problems == 0
    assert not reading.counts.refused


def columns(path: Path) -> dict[str, list[Any]]:
    table = pa.Table.from_batches(list(Reading([file_source(path)])))
    times = table["Timestamp"].cast(pa.int64())
    return table.set_column(0, "Timestamp", times).to_pydict()  # type: ignore[no-any-return]


def test_a_translation_to_jaeger_reads_as_what_it_was_translated_from() -> None:
    """Nothing is lost in this pair: its times are whole microseconds, and the schema URL is no column."""
    otlp = columns(FORMATS / "jaeger" / "otlp2jaeger-in.json")
    assert columns(FORMATS / "jaeger" / "otlp2jaeger-out.json") == otlp
    assert len(otlp["SpanId"]) == 2


def test_halves_of_shared_spans_have_ids_of_their_own_and_parents_that_exist() -> None:
    for name in ("ascend.json", "skew.json", "yelp.json", "smartthings-oauth-authorization.json"):
        table = columns(FORMATS / "zipkin" / name)
        recorded = json.loads((FORMATS / "zipkin" / name).read_bytes())
        clients = {span["id"] for span in recorded if span.get("kind") == "CLIENT"}
        split = sum(span.get("shared", False) and span["id"] in clients for span in recorded)
        assert len(set(table["SpanId"])) == len(table["SpanId"])
        moved = [dict(attributes).get("zipkin.shared_id") for attributes in table["SpanAttributes"]]
        assert sum(shared is not None for shared in moved) == split > 0
        ids = set(table["SpanId"])
        orphans = {parent for parent in table["ParentSpanId"] if parent and parent not in ids}
        assert orphans == {
            span["parentId"] for span in recorded if span.get("parentId") not in {None} | {other["id"] for other in recorded}
        }
