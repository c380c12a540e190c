import importlib
import pkgutil

import verdigris
import verdigris.errors
from verdigris.errors import VerdigrisError


def every_error() -> set[type[VerdigrisError]]:
    for module in pkgutil.walk_packages(verdigris.__path__, "verdigris."):
        importlib.import_module(module.name)
    found: set[type[VerdigrisError]] = set()
    below = [VerdigrisError]
    while below:
        below = [kind for parent in below for kind in parent.__subclasses__() if kind.__module__.startswith("verdigris.")]
        found.update(below)
    return found


def test_the_tree_in_the_docs_has_every_error_of_the_first_level_in_its_room() -> None:
    lines = {line.split()[1]: line for line in (verdigris.errors.__doc__ or "").splitlines() if line.startswith(("├", "└"))}
    first = {kind for kind in every_error() if VerdigrisError in kind.__bases__}
    for kind in first:
        room = kind.__module__.split(".")[1]
        assert kind.__name__ in lines[room].replace(",", " ").split(), kind
    assert sum(len([w for w in line.replace(",", " ").split()[2:] if w != "…"]) for line in lines.values()) == len(first)


def test_every_error_says_what_is_safe() -> None:
    general = {"VerdigrisError", "OutcomeUnknown", "Stopped", "AnswerLost", "SourceError", "Unreadable", "NothingToRead"}
    silent = {kind.__name__ for kind in every_error() if "Safe:" not in (kind.__doc__ or "") and kind.__name__ not in general}
    assert silent <= {"UnknownFormat"}
