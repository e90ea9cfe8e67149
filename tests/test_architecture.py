"""The house stays as drawn in CONTRIBUTING: imports point one way, heavy libraries come late, nothing is unpickled."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clinaug_fast

PACKAGE = Path(clinaug_fast.__file__).parent
ROOT = Path(__file__).parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A room may import those to its left. The foundation is seen by all and sees none of the rooms.
FOUNDATION = {"errors", "config", "computing", "json_files", "runs", "mel", "seeds", "shown"}
MAY_IMPORT = {
    "native": set(),
    "mel_diff": {"native"},
    "ops": {"native"},
    "corpus": {"native"},
    "audit": {"native", "corpus"},
    "features": {"native"},
    "preprocess": {"native", "corpus", "features"},
    "augment": {"native", "corpus", "features", "preprocess"},
    "gan": {"ops", "features"},
    "evaluate": {"features"},
    "demo": {"preprocess", "features", "gan", "evaluate"},
    "cli": {"native", "mel_diff", "audit", "ops", "preprocess", "features", "augment", "gan", "evaluate", "demo"},
}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("clinaug_fast.")} - {"_native", room}
    allowed = FOUNDATION if room in FOUNDATION else FOUNDATION | MAY_IMPORT[room]
    if path == PACKAGE / "preprocess/cuda.py":  # the one file of the room that comes with torch; others import it late
        allowed = allowed | {"ops"}
    assert rooms <= allowed, f"{path.name} reaches up to {sorted(rooms - allowed)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(ast.parse(path.read_text())) or path.name == "__init__.py"


def test_nothing_is_unpickled_and_nothing_phones_home():
    forbidden = {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "torchaudio",
        "torchvision",
        "requests",
        "urllib",
        "socket",
        "http",
    }
    for path in SOURCES:
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & forbidden, path
        assert not re.search(r"torch\.(load|save)\(|allow_pickle=True", path.read_text()), path


def test_the_kernels_know_neither_python_nor_torch():
    paths = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cpp", ".hpp", ".cu", ".cuh")]
    assert {path.suffix for path in paths} >= {".cpp", ".hpp", ".cu"}
    for path in paths:
        if path.parent.name != "bindings":
            assert not re.search(r"#include [<\"](Python|pybind11|torch|ATen|c10)", path.read_text()), path


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that are loaded once a fresh interpreter has run the statement."""
    code = f"{statement}\nimport sys\nprint(*(name for name in sys.modules if '.' not in name))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_native_comes_without_torch():
    assert not loaded_after("import clinaug_fast.native, clinaug_fast.preprocess.pipeline") & {"torch", "matplotlib"}


def test_help_loads_no_stage():
    heavy = {"torch", "numpy", "sklearn", "pyarrow", "matplotlib", "pydantic", "soundfile"}
    assert not loaded_after("import clinaug_fast.cli.main") & heavy


def test_the_makefile_names_the_tests_for_a_gpu():
    """By name, since collecting the others needs packages that a GPU machine may lack."""
    marked = re.compile(r"mark\.cuda|def test_\w+\(.*\bdevice\b")
    for_a_gpu = {path.name for path in (ROOT / "tests").glob("test_*.py") if marked.search(path.read_text())}
    listed = re.search(r"CUDA_TESTS := \$\(addprefix tests/test_,(.*)\)", (ROOT / "Makefile").read_text())
    assert {f"test_{name}" for name in listed[1].split()} == for_a_gpu - {Path(__file__).name}
