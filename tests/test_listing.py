"""The listing of a corpus folder: links that lead nowhere, links to one folder, names that begin with dots, orders."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast import native


def names(listing: native.Listing) -> list[str]:
    text = listing.names.tobytes().decode()
    return [text[begin:end] for begin, end in zip(listing.offsets, listing.offsets[1:], strict=False)]


@pytest.mark.parametrize("target", ["x.wav", "none", "y" * 300, "../a.txt/z"])
def test_audio_that_leads_nowhere_is_listed_without_a_size(tmp_path: Path, target: str):
    """A link to itself, to nothing, to a name that is too long, through a file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "a/y.wav").write_bytes(b"1234567")
    (tmp_path / "a/x.wav").symlink_to(target)
    (tmp_path / "a/z.wav").symlink_to("y.wav")
    listing = native.list_audio(tmp_path, [".wav"])
    assert names(listing) == ["a/x.wav", "a/y.wav", "a/z.wav"]
    np.testing.assert_array_equal(listing.bytes, [-1, 7, 7])
    assert listing.dead_links == []


def test_which_errors_are_of_a_name():
    of_names = {"ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP", "ENAMETOOLONG", "EINVAL"}
    for name in sorted(of_names | {"EIO", "ESTALE", "ENOMEM", "ETIMEDOUT", "EMFILE"}):
        assert native.is_of_the_name(OSError(getattr(errno, name), name)) == (name in of_names), name
    assert not native.is_of_the_name(OSError("without a number"))


def test_a_hidden_link_to_nothing_is_an_ignored_file(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.#notes").symlink_to("root@host.4711")  # an editor's lock
    (tmp_path / "a/share").symlink_to("/none")
    listing = native.list_audio(tmp_path, [".wav"])
    assert (listing.dead_links, listing.ignored) == (["a/share"], {"": 1})


@pytest.mark.parametrize("name", ["..wav", "...x", ".wav", "x", "x.", "a.b.txt", "..a.txt"])
def test_suffixes_are_those_of_python(tmp_path: Path, name: str):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(b"")
    assert native.list_audio(tmp_path, [".wav"]).ignored == {os.path.splitext(name)[1]: 1}


def test_the_first_of_several_links_by_name_is_followed_and_all_is_in_order(tmp_path: Path):
    root = tmp_path / "corpus"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.wav").write_bytes(b"")
    order = [f"{i:02}" for i in np.random.default_rng(0).permutation(24)]
    for number in order:
        (root / f"link{number}").symlink_to(tmp_path / "elsewhere")
        (root / f"dead{number}").symlink_to("/none")
        (root / f"loose{number}.wav").write_bytes(b"")
        (root / f".hidden{number}").mkdir()
    listing = native.list_audio(root, [".wav"])
    assert names(listing) == ["link00/x.wav"]
    assert listing.left_out == [f".hidden{i:02}" for i in range(24)] + [f"link{i:02}" for i in range(1, 24)]
    assert listing.dead_links == [f"dead{i:02}" for i in range(24)]
    assert listing.unlabelled == [f"loose{i:02}.wav" for i in range(24)]
