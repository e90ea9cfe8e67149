"""The generators differ in what they say they differ in, fit any clip size, and use the label."""

import pytest
import torch
from torch import nn

from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.gan.models import Critic, Generator, Residual, Sum, UpSample, parameter_count
from clinaug_fast.ops import ResidualSE

MODELS = ("cwgan-gp", "res-cwgan-gp", "se-cwgan-gp")


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (32, 80), (128, 16)])
def test_shapes_and_range(model, shape):
    generator, critic = Generator(model, shape, 3, 4, 10), Critic(shape, 3, 4)
    classes = torch.tensor([0, 1, 2, 0, 1])
    clips = generator(torch.randn(5, 10), classes)
    assert clips.shape == (5, 1, *shape)
    assert clips.abs().max() < 1
    assert critic(clips, classes).shape == (5,)


def test_the_critic_halves_the_picture_and_doubles_the_channels():
    critic = Critic((64, 32), 3, 4)
    convolutions = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 4), (4, 8), (8, 16), (16, 32)]
    assert critic.layers(torch.zeros(2, 1, 64, 32)).shape == (2, 32 * 4 * 2)
    assert critic.embedding.weight.std().item() == pytest.approx((32 * 4 * 2) ** -0.5, rel=0.1)
    assert {module.negative_slope for module in critic.modules() if isinstance(module, nn.LeakyReLU)} == {0.2}
    clips, classes = torch.randn(5, 1, 64, 32), torch.tensor([0, 1, 2, 2, 0])
    features = critic.layers(clips)
    by_label = torch.stack([f @ critic.embedding.weight[c] for f, c in zip(features, classes, strict=True)])
    scores = features @ critic.score.weight[0] + critic.score.bias + by_label  # Miyato and Koyama 2018
    torch.testing.assert_close(critic(clips, classes), scores)


@pytest.mark.parametrize(
    ("shape", "advice"),
    [((60, 64), "64 --n-frames 64"), ((8, 100), "16 --n-frames 96"), ((0, 64), "16 --n-frames 64")],
)
def test_refuses_other_sizes_and_names_sizes_that_work(shape, advice):
    for build in (lambda: Generator("cwgan-gp", shape, 2, 4, 8), lambda: Critic(shape, 2, 4)):
        with pytest.raises(InputError, match=f"{shape[0]} mels x {shape[1]} frames.*--n-mels {advice}"):
            build()


@pytest.mark.parametrize("width", [1, 4, 8, 16, 24, 64])
def test_squeeze_and_excitation_costs_less_than_one_percent(width):
    plain, residual, squeezed = (parameter_count(Generator(model, (64, 64), 5, width, 128)) for model in MODELS)
    joins = [ResidualSE(factor * width, reduction=16) for factor in (4, 2, 1)]
    assert plain < residual < squeezed
    assert squeezed - residual == sum(map(parameter_count, joins))
    assert squeezed - residual < 0.01 * residual


def test_squeezed_and_residual_differ_in_the_join_alone():
    residual, squeezed = (Generator(model, (32, 32), 2, 4, 8) for model in MODELS[1:])
    loaded = squeezed.load_state_dict(residual.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert {key.split(".")[2] for key in loaded.missing_keys} == {"join"}
    for module in squeezed.modules():
        if isinstance(module, Residual):  # a gate of one: relu(1 * x + skip)
            nn.init.zeros_(module.join.w2)
            nn.init.constant_(module.join.b2, 50.0)
    latent, classes = torch.randn(3, 8), torch.tensor([0, 1, 1])
    torch.testing.assert_close(squeezed.eval()(latent, classes), residual.eval()(latent, classes))


def test_residual_is_identity_plus_body():
    x = torch.randn(2, 4, 6, 6)
    module = Residual(4, Sum()).eval()
    torch.testing.assert_close(module(x), (module.body(x) + x).clamp_min(0))


@pytest.mark.parametrize("bias", [False, True])
def test_up_sampling_is_the_nearest_neighbour_and_a_convolution(bias):
    module, x = UpSample(4, 3, bias).double(), torch.randn(2, 4, 5, 7, dtype=torch.float64, requires_grad=True)
    doubled = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
    expected, y = module.conv(doubled), module(x)
    torch.testing.assert_close(y, expected)
    wanted, inputs = torch.randn_like(y), [x, *module.parameters()]
    torch.testing.assert_close(torch.autograd.grad(y, inputs, wanted), torch.autograd.grad(expected, inputs, wanted))


def test_up_sampling_leaves_no_checkerboard_on_what_is_even():
    y = UpSample(4, 3, bias=True)(torch.randn(2, 4, 1, 1).expand(2, 4, 5, 7))
    assert y.shape == (2, 3, 10, 14)
    inside = y[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))


@pytest.mark.parametrize("model", MODELS)
def test_the_label_changes_the_clip_and_the_score(model):
    generator, critic = Generator(model, (32, 32), 2, 4, 8).eval(), Critic((32, 32), 2, 4)
    latent = torch.randn(4, 8)
    zero, one = (generator(latent, torch.full((4,), label)) for label in (0, 1))
    assert (zero - one).abs().max() > 1e-3
    clips = torch.randn(4, 1, 32, 32)
    scores = [critic(clips, torch.full((4,), label)) for label in (0, 1)]
    assert (scores[0] - scores[1]).abs().max() > 1e-4


def test_the_critic_judges_each_clip_alone():
    critic, clips, classes = Critic((32, 32), 2, 4), torch.randn(4, 1, 32, 32), torch.tensor([0, 1, 0, 1])
    alone = torch.cat([critic(clips[i : i + 1], classes[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(critic(clips, classes), alone)


def test_the_gate_is_on_the_body():
    x, module = torch.randn(2, 4, 6, 6), Residual(4, ResidualSE(4, reduction=2)).eval()
    nn.init.zeros_(module.join.w2)
    nn.init.constant_(module.join.b2, -50.0)  # a gate of zero
    torch.testing.assert_close(module(x), x.clamp_min(0))


def test_an_unknown_model_is_refused():
    with pytest.raises(SettingsError, match=r"model is 'gan'; expected one of .*cwgan-gp"):
        Generator("gan", (16, 16), 2, 4, 8)
