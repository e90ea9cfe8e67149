"""What a notebook has set for torch changes nothing of what is trained and scored; odd devices are refused."""

import threading

import pytest
import torch

from clinaug_fast.computing import as_torch_begins, chosen_device
from clinaug_fast.config import ClassifierConfig, GanConfig
from clinaug_fast.errors import SettingsError
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.run_folder import Run
from clinaug_fast.gan.train import train
from conftest import files

GAN = GanConfig(width=2, latent_dim=8, steps=2, batch_size=6, n_critic=1, seed=5)
CLASSIFIER = ClassifierConfig(width=4, steps=2, batch_size=6, seeds=1)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def all_stages(features, folds, at):
    train(features, folds, at / "run", GAN, only_folds=[0])
    made = generate(at / "run", features, folds, at / "made", n_per_label=2, only_folds=[0]).features
    evaluate(features, folds, {"gan": made}, at / "scores", CLASSIFIER, only_folds=[0])
    weights = Run.open(at / "run").generator(0)[0].state_dict()
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}
    all_made = files(at).items()
    made = {path: data for path, data in all_made if not path.endswith("json")}  # which tells times and places
    assert len(made) > 4
    return made


@pytest.fixture(scope="module")
def plain(tiny_features, tiny_folds, tmp_path_factory):
    return all_stages(tiny_features, tiny_folds, tmp_path_factory.mktemp("plain"))


@pytest.mark.usefixtures("double_by_default")
def test_a_default_of_double_precision(tiny_features, tiny_folds, tmp_path, plain):
    assert all_stages(tiny_features, tiny_folds, tmp_path) == plain
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize(
    "state",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "meta"],
)
def test_a_state_of_the_caller(state, tiny_features, tiny_folds, tmp_path, plain):
    with state():
        made = all_stages(tiny_features, tiny_folds, tmp_path)
    assert made == plain


@pytest.mark.usefixtures("double_by_default")
def test_the_default_comes_back_when_the_last_thread_goes():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def first():
        with as_torch_begins():
            inside.set()
            leave.wait(10)
            seen.append(torch.get_default_dtype())

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with pytest.raises(KeyError), as_torch_begins():
        raise KeyError
    assert torch.get_default_dtype() == torch.float32  # the other is still at work
    leave.set()
    thread.join()
    assert seen == [torch.float32]
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", "", None, torch.device("meta")])
def test_a_device_that_is_none(name, tiny_features, tiny_folds, tmp_path):
    sentence = "expected cpu or cuda|torch sees no CUDA device here. Use --device cpu|expected a number below"
    with pytest.raises(SettingsError, match=sentence):
        chosen_device(name)
    with pytest.raises(SettingsError, match=sentence):
        train(tiny_features, tiny_folds, tmp_path / "run", GAN, device=name)
    with pytest.raises(SettingsError, match=sentence):
        evaluate(tiny_features, tiny_folds, {}, tmp_path / "scores", CLASSIFIER, device=name)
    assert not list(tmp_path.iterdir())


def test_a_device_by_name_or_torchs():
    assert chosen_device("cpu") == chosen_device(torch.device("cpu")) == torch.device("cpu")


def test_a_default_that_is_set_meanwhile_stays(request):
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    with as_torch_begins():
        torch.set_default_dtype(torch.float64)
    assert torch.get_default_dtype() == torch.float64


def test_a_default_device_that_is_not_there():
    """Torch looks for one without a number, and ends in an error of its own."""
    with torch.device("mps"), as_torch_begins():
        assert torch.zeros(1).device.type == "cpu"


def test_only_devices_that_are_there_are_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(chosen_device(name)) for name in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    with pytest.raises(SettingsError, match="device is cuda:2; expected a number below 2, or cuda alone"):
        chosen_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"device is cuda, but torch sees no CUDA device here\. Use --device cpu"):
        chosen_device("cuda")
