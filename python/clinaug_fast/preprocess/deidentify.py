"""De-identification: what of a recording may be seen outside, once names are replaced by keyed hashes.

Takes a Recording and a key; leaves the columns of the index with every path, subject, site and device as the hex digits
of a keyed BLAKE2b, so that equal names stay equal and nothing leads back without the key. Labels and times stay;
tags embedded in a file are never read, and reasons of rejection, which may quote a name, are dropped.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.errors import SettingsError
from clinaug_fast.runs import AnyPath, claim

KEY_BYTES = 32
MOST_KEY_BYTES = 1024  # with blanks around it; a device has no end
HASH_BYTES = 12


def public_fields(recording: Recording, key: bytes) -> dict[str, Any]:
    """`id` of the recording and the index columns recording, subject, site, device, hashed under `key`, and label.

    A clip's id is this id, "#" and its window's number. Sort the recordings of a de-identified set by this id: the
    order of the paths would tell the order of the names.
    """
    return {
        "id": keyed_hash(key, "recording", recording.id),
        "recording": keyed_hash(key, "recording", recording.relative),
        "subject": keyed_hash(key, "subject", recording.subject),
        "site": keyed_hash(key, "site", recording.site),
        "device": keyed_hash(key, "device", recording.device),
        "label": recording.label,
    }


def public_suffixes(ignored: Mapping[str, int], key: bytes | None) -> dict[str, int]:
    """Ignored files by suffix; under a key one number, since what follows a name's last dot may be a name too."""
    return dict(ignored) if key is None or not ignored else {"of any suffix": sum(ignored.values())}


def public_digest(digest: str, key: bytes | None) -> str:
    """A fingerprint over names, which tells whoever guesses them that they are right; hashed under `key`."""
    return digest if key is None else keyed_hash(key, "corpus", digest)


def public_pattern(pattern: str | None, key: bytes | None) -> str | None:
    """The subject pattern, which may list names; hashed under `key`."""
    return pattern if key is None else keyed_hash(key, "pattern", pattern)


def rejected_row(recording: Recording, code: str, reason: str, key: bytes | None) -> dict[str, Any]:
    """The line of rejected.jsonl; under a key the path is hashed and the reason dropped."""
    about = {"start_s": recording.start_s, "end_s": recording.end_s, "code": code}
    if key is None:
        return {"path": recording.relative} | about | {"reason": reason}
    return {"recording": keyed_hash(key, "recording", recording.relative)} | about


def keyed_hash(key: bytes, kind: str, value: str | None) -> str | None:
    """Hex digits of BLAKE2b(value) under `key`; the same name as a subject and as a site gives two. None stays."""
    if value is None:
        return None
    return hashlib.blake2b(
        value.encode(errors="surrogateescape"), digest_size=HASH_BYTES, key=key, person=kind.encode()
    ).hexdigest()


def key_check(key: bytes) -> str:
    """Digits that tell two keys apart and nothing else; stored with the settings, so that a resume takes the same."""
    return hashlib.blake2b(b"", digest_size=HASH_BYTES, key=key, person=b"key check").hexdigest()


def read_or_make_key(path: AnyPath, out: AnyPath) -> bytes:
    """The key in `path` (64 hex digits); a new random one is written there, for its owner alone, if there is none.

    Raises SettingsError where `path` is or lies inside `out`, a part, draft or receipt of it, or holds something else.
    """
    path, out = Path(path), Path(out)
    if path.resolve() == out.resolve() or path.resolve() == out.resolve().with_name(f"{out.name}.receipt.json"):
        raise SettingsError(f"the key {path} is where the output will be; expected it elsewhere. Name another file")
    made = re.compile(re.escape(out.name) + r"(\.part-\d+-of-\d+)?|" + re.escape(f".{out.name}") + r"\..*draft")
    for folder in path.resolve().parents:
        if folder == out.resolve() or (folder.parent == out.resolve().parent and made.fullmatch(folder.name)):
            raise SettingsError(
                f"the key {path} lies inside {folder}; expected it elsewhere, since whoever gets the feature set would "
                "get the names. Name a file outside"
            )
    if path.is_dir():
        raise SettingsError(f"the key {path} is a folder; expected a file, such as {path / 'key'}. Name one")
    path.parent.mkdir(parents=True, exist_ok=True)
    claim(path, secrets.token_hex(KEY_BYTES) + "\n", 0o600)
    with open(path, "rb") as file:  # maybe a pipe, which a key is decrypted into
        text = file.read(MOST_KEY_BYTES).strip()
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"{path} is no key; expected {2 * KEY_BYTES} hex digits and nothing else. Name a file that does not exist, "
            "and a key is made there"
        )
    return key
