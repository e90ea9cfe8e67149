"""The demo corpus: a small synthetic operating theatre, so that the whole way can be walked without any data.

Leaves label folders of WAV files named `<procedure>_<label>_<take>.wav`, a README.txt that says what they are, and
`demo_corpus.json` with the settings. A recording depends on (seed, procedure, label, take) alone.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from clinaug_fast.demo.room import Procedure
from clinaug_fast.demo.sources import SOUNDS
from clinaug_fast.demo.synthesis import RATE
from clinaug_fast.errors import InputError
from clinaug_fast.json_files import read_record, write_json
from clinaug_fast.runs import Progress, Silent, atomic_folder, refuse_changed, refuse_file, write_text

LABELS = sorted(SOUNDS)
SUBJECT_PATTERN = r"(p\d+)_"
SETTINGS_FILE = "demo_corpus.json"

README = """\
This corpus is SYNTHETIC. No patient, no operation and no microphone had a part in it.

It was written by `clinaug-fast demo`: {n_recordings} sounds in the manner of a total hip arthroplasty, computed from
simple physics. Six labels (the folders), {n_procedures} "procedures" (p01, p02, ... in the file names), each with its
own tools, room and microphone, {takes} takes of each label. 44.1 kHz, one channel, 16 bit.

Use it to try the tools. A score on it says nothing about real recordings.
"""


def demo_procedure(seed: int, procedure: int) -> Procedure:
    """The tools, room and microphone of one procedure."""
    return Procedure.draw(np.random.default_rng(np.random.SeedSequence([seed, procedure])))


def demo_recording(seed: int, procedure: int, label: str, take: int) -> np.ndarray:
    """(n_samples,) int16 at 44.1 kHz, 1.0 to 2.2 s: one recording, the same whatever else is made."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, procedure, LABELS.index(label), take]))
    scene = demo_procedure(seed, procedure)
    n = RATE // 20 * int(rng.integers(20, 45))
    x = scene.record(rng, SOUNDS[label](rng, n, scene.tools))
    return np.round(x * 32767.0).astype(np.int16)


def write_demo_corpus(
    out: Path, *, seed: int, n_procedures: int = 12, takes: int = 4, progress: Progress = Silent()
) -> bool:
    """Write the corpus to `out`; False where it is there already, made with the same settings.

    Raises InputError where `out` is something else, was made with other settings or has lost recordings.
    """
    out = Path(out)
    names = {
        f"{label}/p{procedure:02d}_{label}_{take}.wav": (procedure, label, take)
        for procedure in range(1, n_procedures + 1)
        for label in LABELS
        for take in range(1, takes + 1)
    }
    settings = {"seed": seed, "n_procedures": n_procedures, "takes": takes}
    if out.exists():
        _refuse_other(out, settings, names)
        return False
    progress.start("corpus", len(names))
    with atomic_folder(out) as draft:
        for label in LABELS:
            (draft / label).mkdir()
        for name, what in names.items():
            recording = BytesIO()  # what libsndfile says of a full disk is no OSError
            soundfile.write(recording, demo_recording(seed, *what), RATE, subtype="PCM_16", format="WAV")
            (draft / name).write_bytes(recording.getbuffer())
            progress.advance()
        write_text(draft / "README.txt", README.format(n_recordings=len(names), n_procedures=n_procedures, takes=takes))
        write_json(draft / SETTINGS_FILE, settings)
    return True


def _refuse_other(out: Path, settings: dict[str, int], names: dict[str, tuple[int, str, int]]) -> None:
    refuse_file(out)
    if not (out / SETTINGS_FILE).exists():
        raise InputError(f"{out} is no demo corpus, as it has no {SETTINGS_FILE}. Name another folder")
    stored = read_record(out / SETTINGS_FILE, f"the {SETTINGS_FILE} of a demo corpus", {})
    refuse_changed(out, stored, settings)
    missing = [name for name in names if not (out / name).is_file()]
    if missing:
        raise InputError(
            f"{out} has lost {len(missing)} of its {len(names)} recordings, {missing[0]} among them. "
            "Remove the folder, and it is written anew"
        )
