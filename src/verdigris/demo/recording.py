"""Records the traces of a small real system, twice side by side: a baseline, and a candidate with a fault.

The files are what an OpenTelemetry Collector's file exporter would have written. This module owns the files and what
may be believed about them; what runs is in `clinic`, of which the part that needs OpenTelemetry is imported late.

    python -m verdigris.demo.recording FOLDER --seconds 60
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from verdigris.demo.clinic.behaviour import BASELINE, CANDIDATE
from verdigris.demo.clinic.chance import Chance
from verdigris.demo.clinic.drive import drive
from verdigris.demo.clinic.load import Arrival, arrivals
from verdigris.demo.errors import DemoError, RecordingFailed
from verdigris.demo.extra import require_opentelemetry
from verdigris.judge.windows import Role

MARKER = "recording.json"
_SYSTEM = 1
"""Which system was recorded. Count up when the clinic changes, so that older recordings are made anew."""

_BEHAVIOURS = {Role.BASELINE: BASELINE, Role.CANDIDATE: CANDIDATE}
_ENVIRONMENTS = {Role.BASELINE: "blue", Role.CANDIDATE: "green"}


@dataclass(frozen=True, slots=True)
class Recording:
    """The traces of both roles: OTLP/JSON lines."""

    baseline: Path
    candidate: Path


def describe() -> str:
    """What the system is and what is wrong in the candidate, for people to read before the run."""
    low_ms, high_ms = (round(extra_s * 1000) for extra_s in CANDIDATE.insurer_extra_s)
    return f"""\
A hospital's appointment system: three HTTP services, two instances of each, traced with OpenTelemetry.
  portal       what patients see: free appointments, booking, health card
  scheduling   owns the appointments (SQLite); booking one asks eligibility first
  eligibility  asks the insurer's API, outside and without traces, whether the patient is covered
Baseline {BASELINE.version} (blue) and candidate {CANDIDATE.version} (green) run side by side and get the same requests.

What is wrong: in the candidate, eligibility uses the insurer's new {CANDIDATE.insurer_api} endpoint, which the tests \
only simulated.
The real one answers {CANDIDATE.insurer_slow_share:.0%} of the calls {low_ms} to {high_ms} ms later. Booking and the \
health card become slow, so
that portal and scheduling look guilty; the cause is eligibility's call to the insurer. Looking at free
appointments asks no insurer and stays as it was. In both roles about 0.3% of the requests fail naturally
(404 or 503); that is not the difference.
"""


def record(
    folder: Path,
    *,
    seconds: float = 60,
    requests_per_s: float = 20,
    seed: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> Recording:
    """Runs both roles under load and writes `baseline.jsonl` and `candidate.jsonl`, unless they exist already.

    Interrupting it leaves nothing behind and a finished recording as it was.

    Args:
        folder: is made if needed; one recording per folder, a different one is replaced.
        seconds: how long the load lasts.
        requests_per_s: to each role.
        seed: of the load and of everything accidental in the system. Times and ids still differ from run to run.
        on_progress: called with the finished share, in (0, 1], from this thread.

    Raises:
        DemoExtraMissing: OpenTelemetry's SDK is not installed.
        ImpossibleLoad: a number is out of bounds.
        RecordingFailed: the system broke or its spans could not be written.
    """
    plan = arrivals(seconds, requests_per_s, seed)
    parameters = {"system": _SYSTEM, "seconds": float(seconds), "requests_per_s": float(requests_per_s), "seed": seed}
    recording = Recording(folder / "baseline.jsonl", folder / "candidate.jsonl")
    if not _exists(recording, folder / MARKER, parameters):
        require_opentelemetry()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(recording, folder / MARKER, parameters, lambda files: _run(files, plan, seed, on_progress))
        except OSError as error:
            msg = f"cannot write the recording to {folder}: {error}"
            raise RecordingFailed(msg) from error
    if on_progress:
        on_progress(1.0)
    return recording


def _exists(recording: Recording, marker: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether that recording was finished with the same parameters and its files are still what was written."""
    try:
        return bool(json.loads(marker.read_bytes()) == {**parameters, "bytes": _sizes(recording)})
    except (OSError, ValueError):
        return False


def _sizes(recording: Recording) -> list[int]:
    return [recording.baseline.stat().st_size, recording.candidate.stat().st_size]


def _write(
    recording: Recording,
    marker: Path,
    parameters: Mapping[str, Any],
    run: Callable[[Mapping[Role, IO[bytes]]], None],
) -> None:
    """1 record to part files · 2 take the old marker away · 3 rename the files · 4 write the marker.

    Without a marker the files are a recording that `record` does not know and makes anew, so stopping between any two
    of these steps is safe; only whole files ever have the final names.
    """
    with ExitStack() as stack:
        run(
            {
                Role.BASELINE: stack.enter_context(_part(recording.baseline)),
                Role.CANDIDATE: stack.enter_context(_part(recording.candidate)),
            }
        )
        marker.unlink(missing_ok=True)
    with _part(marker) as out:
        out.write(json.dumps({**parameters, "bytes": _sizes(recording)}, indent=2).encode() + b"\n")


@contextmanager
def _part(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the body ends well, and disappears otherwise."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two runs at a time must not write into one file
    try:
        with part.open("wb") as out:
            yield out
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _run(
    files: Mapping[Role, IO[bytes]],
    plan: Sequence[Arrival],
    seed: int,
    on_progress: Callable[[float], None] | None,
) -> None:
    """Runs both roles under the load; when it returns, every span is in the files."""
    from verdigris.demo.clinic.deployment import running  # noqa: PLC0415 - needs the optional SDK
    from verdigris.demo.clinic.otlp_lines import LinesExporter  # noqa: PLC0415 - needs the optional SDK

    exporters = {role: LinesExporter(out) for role, out in files.items()}
    with ExitStack() as stack:
        portals = {
            role: stack.enter_context(running(_BEHAVIOURS[role], _ENVIRONMENTS[role], Chance(seed, role), exporter))
            for role, exporter in exporters.items()
        }
        drive(plan, portals, on_progress)
    for role, exporter in exporters.items():
        if exporter.failure:
            msg = f"the spans of the {role} could not be written: {exporter.failure}"
            raise RecordingFailed(msg) from exporter.failure
        if not exporter.spans:
            msg = f"the {role} made no spans; is OpenTelemetry switched off here (OTEL_SDK_DISABLED)?"
            raise RecordingFailed(msg)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns: the exit status: 0, 1 when it failed, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m verdigris.demo.recording",
        description="Records the traces of a small real system, as baseline and as candidate with a fault.",
        epilog="example: python -m verdigris.demo.recording /tmp/clinic --seconds 60",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="gets baseline.jsonl and candidate.jsonl")
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts (default: %(default)s)")
    parser.add_argument("--requests-per-s", type=float, default=20, help="load on each role (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of load and accidents (default: %(default)s)")
    asked = parser.parse_args(arguments)
    sys.stderr.write(describe() + "\n")
    try:
        recording = record(
            asked.folder,
            seconds=asked.seconds,
            requests_per_s=asked.requests_per_s,
            seed=asked.seed,
            on_progress=_draw if sys.stderr.isatty() else None,
        )
    except DemoError as error:
        sys.stderr.write(f"\nerror: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was kept\n")
        return 130
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    sys.stdout.write(f"{recording.baseline}\n{recording.candidate}\n")
    return 0


def _draw(done: float) -> None:
    sys.stderr.write(f"\rrecording {done:4.0%}")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
