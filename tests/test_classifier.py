"""The classifier: ResNet-18's shapes, what it must not see, and its training."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.evaluate.classifier import ResNet18, standardise
from clinaug_fast.evaluate.training import balanced_order, log_probabilities, train_classifier
from clinaug_fast.seeds import derived_seed

CPU = torch.device("cpu")
TORCHVISION_RESNET18_PARAMETERS = 11_689_512  # torchvision's table of weights: 3 channels, 1000 classes


def clips_of(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_width_64_has_the_parameters_of_the_published_network():
    n_labels = 6
    expected = TORCHVISION_RESNET18_PARAMETERS - 64 * 2 * 7 * 7 - (1000 - n_labels) * (512 + 1)
    assert sum(p.numel() for p in ResNet18(n_labels, 64).parameters()) == expected


def test_state_dict_has_the_names_and_shapes_of_torchvision():
    def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
        vectors = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{v}": (channels,) for v in vectors} | {f"{name}.num_batches_tracked": ()}

    expected = {"conv1.weight": (64, 1, 7, 7)} | norm("bn1", 64)
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            expected |= {f"{name}.conv1.weight": (channels, before, 3, 3)} | norm(f"{name}.bn1", channels)
            expected |= {f"{name}.conv2.weight": (channels, channels, 3, 3)} | norm(f"{name}.bn2", channels)
            if before != channels:
                expected |= {f"{name}.downsample.0.weight": (channels, before, 1, 1)}
                expected |= norm(f"{name}.downsample.1", channels)
            before = channels
    expected |= {"fc.weight": (5, 512), "fc.bias": (5,)}
    assert {name: tuple(t.shape) for name, t in ResNet18(5, 64).state_dict().items()} == expected


def test_stages_halve_the_picture_and_double_the_channels_as_published():
    def noted(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        shapes.append((tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    shapes = []
    model = ResNet18(5)
    for stage in (model.conv1, model.layer1, model.layer2, model.layer3, model.layer4):
        stage.register_forward_hook(noted)
    model.eval()(clips_of(0, 1, 1, 64, 64))
    assert shapes == [
        ((1, 64, 64), (64, 32, 32)),
        ((64, 16, 16), (64, 16, 16)),
        ((64, 16, 16), (128, 8, 8)),
        ((128, 8, 8), (256, 4, 4)),
        ((256, 4, 4), (512, 2, 2)),
    ]
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):  # He et al. 2015: the deviation keeps the gradient's size
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_the_first_stage_gets_the_maximum_over_windows_of_three_as_published():
    model, seen = ResNet18(3, 4).eval(), []
    model.layer1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    clips = clips_of(0, 2, 1, 64, 64)
    with torch.no_grad():
        model(clips)
        stem = torch.relu(model.bn1(model.conv1(standardise(clips))))
    padded = torch.nn.functional.pad(stem, (1, 1, 1, 1))  # with zeros, above which all of it lies
    windows = torch.nn.functional.unfold(padded, 3, stride=2).view(2, 4, 9, -1)
    torch.testing.assert_close(seen[0].flatten(2), windows.amax(2))


@pytest.mark.parametrize("shape", [(1, 1), (13, 7), (64, 64), (40, 200)])
def test_takes_clips_of_any_shape(shape):
    assert ResNet18(3, 2).eval()(clips_of(0, 2, 1, *shape)).shape == (2, 3)


@given(gain_db=st.floats(-60, 60), seed=st.integers(0, 100))
def test_gain_is_invisible(gain_db, seed):
    log_mel = 3 * clips_of(seed, 2, 1, 16, 16) - 8
    louder = log_mel + gain_db * np.log(10) / 10  # a gain scales the power, and adds to its logarithm
    torch.testing.assert_close(standardise(louder), standardise(log_mel), rtol=0, atol=1e-4)


def test_classifier_standardises_each_clip_for_itself():
    model = ResNet18(3, 4).eval()
    clips = clips_of(1, 4, 1, 32, 32)
    scaled = clips * torch.tensor([0.5, 1.0, 2.0, 10.0]).view(4, 1, 1, 1) + 5
    torch.testing.assert_close(model(scaled), model(clips), rtol=1e-3, atol=1e-3)


def test_a_clip_has_no_mean_and_unit_variance_over_its_picture():
    made = standardise(3 * clips_of(0, 5, 1, 4, 4) - 8)
    torch.testing.assert_close(made.mean(dim=(-2, -1)), torch.zeros(5, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(made.square().mean(dim=(-2, -1)), torch.ones(5, 1), rtol=1e-4, atol=0)


def test_silence_gives_numbers():
    assert torch.isfinite(ResNet18(3, 4).eval()(torch.full((2, 1, 32, 32), -23.0))).all()


@given(
    classes=st.lists(st.integers(0, 4), min_size=1, max_size=40), n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1)
)
def test_every_label_and_every_clip_of_it_is_drawn_equally_often(classes, n, seed):
    classes = torch.tensor(classes)
    order = balanced_order(classes, n, torch.Generator().manual_seed(seed))
    assert order.shape == (n,)
    of_clip = torch.bincount(order, minlength=len(classes))
    of_label = torch.bincount(classes, weights=of_clip.double())[classes.unique()]
    assert of_label.max() - of_label.min() <= 1
    for label in classes.unique():
        counts = of_clip[classes == label]
        assert counts.max() - counts.min() <= 1


def test_labels_come_in_another_order_each_round():
    classes = torch.arange(6).repeat(4)
    rounds = classes[balanced_order(classes, 60, torch.Generator().manual_seed(0))].view(10, 6)
    assert len({tuple(labels) for labels in rounds.tolist()}) > 5


def stripes(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Horizontal, vertical and no stripes in noise: (n, 32, 32) and their classes."""
    classes = torch.arange(n) % 3
    wave = torch.sin(torch.arange(32) * 1.5)
    patterns = torch.stack([wave[:, None].expand(32, 32), wave[None, :].expand(32, 32), torch.zeros(32, 32)])
    return patterns[classes] + 0.3 * clips_of(seed, n, 32, 32), classes


def test_learns_a_separable_set_and_leaves_global_random_state_alone():
    state = torch.get_rng_state()
    config = ClassifierConfig(width=8, steps=40, batch_size=12, learning_rate=1e-2)
    clips, classes = stripes(48, seed=0)
    model = train_classifier(clips, classes, 3, config, seed=0, device=CPU)
    assert torch.equal(torch.get_rng_state(), state)

    test_clips, test_classes = stripes(300, seed=1)
    predicted = log_probabilities(model, test_clips, CPU)
    assert (predicted.argmax(1) == test_classes).double().mean() > 0.9
    torch.testing.assert_close(predicted.exp().sum(1), torch.ones(300))


def test_a_clip_is_judged_by_itself_whatever_is_judged_beside_it():
    clips, classes = stripes(24, seed=0)
    model = train_classifier(clips, classes, 3, ClassifierConfig(width=2, steps=3, batch_size=6), seed=0, device=CPU)
    assert not any(module.training for module in model.modules())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    many = log_probabilities(model, stripes(300, seed=1)[0], CPU)
    for row in (0, 255, 256, 299):
        alone = log_probabilities(model, stripes(300, seed=1)[0][row : row + 1], CPU)
        torch.testing.assert_close(alone[0], many[row], rtol=0, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("n_clips", [9, 90])
def test_takes_exactly_the_steps_that_are_asked_for(n_clips):
    taken, told = [], []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        clips, classes = stripes(n_clips, seed=0)
        config = ClassifierConfig(width=1, steps=7, batch_size=4)
        train_classifier(clips, classes, 3, config, seed=0, device=CPU, on_step=lambda: told.append(1))
    finally:
        hook.remove()
    assert (len(taken), len(told)) == (7, 7)


def test_the_seed_decides_every_bit():
    clips, classes = stripes(24, seed=0)
    config = ClassifierConfig(width=2, steps=3, batch_size=4)
    first, again, other = (
        log_probabilities(train_classifier(clips, classes, 3, config, seed, device=CPU), clips, CPU)
        for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_step_takes_its_own_gradient_at_the_rate_of_one_cycle():
    """AdamW and the cycle are torch's; what they are given is computed again here."""

    def noted(optimizer: Optimizer, *_) -> None:
        (group,) = optimizer.param_groups
        parameters = [(p.detach().clone(), p.grad.clone()) for p in group["params"]]
        seen.append((group["lr"], group["weight_decay"], parameters))

    seen = []
    clips, classes = stripes(24, seed=0)
    config = ClassifierConfig(width=2, steps=10, batch_size=6, learning_rate=0.02, weight_decay=0.03)
    hook = register_optimizer_step_pre_hook(noted)
    try:
        train_classifier(clips, classes, 3, config, seed=4, device=CPU)
    finally:
        hook.remove()
    order = balanced_order(classes, 60, torch.Generator().manual_seed(derived_seed("order of clips", 4))).view(10, 6)
    model = ResNet18(3, 2)
    for batch, (_, weight_decay, parameters) in zip(order, seen, strict=True):
        assert weight_decay == 0.03
        with torch.no_grad():
            for ours, (value, _) in zip(model.parameters(), parameters, strict=True):
                ours.copy_(value)
        loss = torch.nn.functional.cross_entropy(model(clips[batch].unsqueeze(1)), classes[batch])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for (_, taken), expected in zip(parameters, gradients, strict=True):
            assert (taken - expected).norm() <= 1e-2 * expected.norm() + 1e-4
    rates = [rate for rate, *_ in seen]
    assert rates[0] == pytest.approx(0.02 / 25)
    assert max(rates) == pytest.approx(0.02, rel=0.05)
    assert np.argmax(rates) in (2, 3)  # three tenths of the way
    assert (np.diff(rates[:3]) > 0).all()
    assert (np.diff(rates[3:]) < 0).all()
    assert 0.0 < rates[-1] < 0.1 * max(rates)
