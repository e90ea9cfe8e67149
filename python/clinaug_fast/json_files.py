"""JSON on disk: written whole, and read back with a sentence for whatever is not as it was written."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clinaug_fast.errors import InputError
from clinaug_fast.runs import canonical_json, naming, regular, write_in_draft, write_text

MEND = "Restore the file or make it anew"


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON with a final newline."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """As `write_json` writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, in a draft that appears whole."""
    write_in_draft(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path, what: str, mend: str | None = None) -> Any:
    """The JSON in `path`; `what` names the file's role in the error ("a feature set's features.json"), `mend` the cure.

    NaN, infinities and halves of characters, which Python takes but `write_json` never wrote, are refused as damage.
    """
    with _reading(path, what, mend):
        return _parsed(regular(path).read_text(encoding="utf-8"))


def read_json_lines(path: Path, what: str, fields: Mapping[str, Any], mend: str | None = None) -> list[dict[str, Any]]:
    """One object a line, each with these fields as in `read_record`; InputError for another, and for none at all."""
    # No other character ends a line, though Python knows more that do.
    with _reading(path, what, mend), open(regular(path), encoding="utf-8", newline="\n") as lines:
        rows = [_parsed(line) for line in lines]
    for row in rows or [None]:
        _with_fields(path, what, row, fields, mend)
    return rows


@contextlib.contextmanager
def _reading(path: Path, what: str, mend: str | None) -> Iterator[None]:
    try:
        with naming(path):
            yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        mend = mend or "Check the path, or run the stage before"
        found = "is a folder" if isinstance(error, IsADirectoryError) else "does not exist"
        raise InputError(f"{path} {found}; expected {what}. {mend}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {what}: {error}. {mend or MEND}") from None


def _parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    value = json.loads(text, parse_constant=refuse)
    canonical_json(value).encode()
    return value


def read_record(path: Path, what: str, fields: Mapping[str, Any], mend: str | None = None) -> dict[str, Any]:
    """`read_json` of an object with these fields, each of its type; in place of a type there may be a mapping, with
    its own fields, or a list of one type, whose items are all of that type.

    Raises InputError with the first that is missing or of another type.
    """
    return _with_fields(path, what, read_json(path, what, mend), fields, mend)


def read_versioned(path: Path, what: str, version: int, mend: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`read_record` of an object that must be of this schema version; `mend` says what to do where it is not."""
    about = read_record(path, what, {})
    if about.get("schema_version") != version:
        raise InputError(f"{path} is not of schema version {version}. {mend}")
    return _with_fields(path, what, about, fields)


def _with_fields(
    path: Path, what: str, about: Any, fields: Mapping[str, Any], mend: str | None = None
) -> dict[str, Any]:
    if (told := misfit(about, fields)) is not None:
        raise InputError(f"{path} is not {what}: {told}. {mend or MEND}")
    return about


def misfit(about: Any, fields: Mapping[str, Any]) -> str | None:
    """The first of these fields, as in `read_record`, that is missing or of another type, in words."""
    if not isinstance(about, dict):
        return "it holds nothing" if about is None else f"it holds {about!r}"
    for name, kind in fields.items():
        value = about.get(name)
        if isinstance(kind, Mapping):
            if (told := misfit(value, kind)) is not None:
                return f"in its {name}, {told}"
        elif not _is_of(value, kind):
            return f"its {name} is {value!r}"
    return None


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is_of(item, kind[0]) for item in value)
    return isinstance(value, kind) and not isinstance(value, bool)  # of JSON; Python counts true as an int
