"""Trains one classifier for a fixed number of gradient steps and lets it judge the test clips.

Every arm of a comparison goes through here with the same steps and the same seed, so that an arm with twice the
clips does not also get twice the training.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.evaluate.classifier import ResNet18
from clinaug_fast.seeds import FIRST_WEIGHTS, derived_seed

TEST_BATCH = 256


def balanced_order(classes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """(n,) int64 positions in `classes`: which clip is drawn when.

    Labels come in rounds, each once a round in random order, whatever their share of the clips: generated clips that
    even out the labels earn nothing for that alone. Inside a label the clips come as from a shuffled deck, real and
    generated together, and the deck is shuffled anew when it is through.
    """
    members = [torch.nonzero(classes == label).flatten() for label in classes.unique()]
    rounds = -(-n // len(members))
    decks = []
    for member in members:
        n_decks = -(-rounds // len(member))
        shuffled = (member[torch.randperm(len(member), generator=generator)] for _ in range(n_decks))
        decks.append(torch.cat(list(shuffled))[:rounds])
    drawn = torch.stack(decks, dim=1)  # (rounds, labels)
    order = torch.empty_like(drawn)
    for at in range(rounds):  # a list of as many tensors would take thirty times the memory
        torch.randperm(len(members), generator=generator, out=order[at])
    return drawn.gather(1, order).flatten()[:n]


def train_classifier(
    clips: Tensor,
    classes: Tensor,
    n_labels: int,
    config: ClassifierConfig,
    seed: int,
    *,
    device: torch.device,
    on_step: Callable[[], None] = lambda: None,
) -> ResNet18:
    """A ResNet-18 after exactly `config.steps` steps of AdamW under a one-cycle rate, ready to judge. As OneCycleLR has
    it, beta1 falls from 0.95 to 0.85 while the rate rises, and back while it falls.

    `clips` is (n, n_mels, n_frames) float32, `classes` (n,) int64 in [0, n_labels). `seed` decides the first weights
    and the order of the clips; global random state is left as it was. `on_step` is called after each step.
    """
    generator = torch.Generator().manual_seed(derived_seed("order of clips", seed))
    order = balanced_order(classes, config.steps * config.batch_size, generator).to(device)
    clips, classes = clips.to(device), classes.to(device)
    model = _new_model(n_labels, config.width, seed).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    # + 1: the cycle's last rate is nearly nothing, and a step at it would be wasted
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps + 1)
    for batch in order.view(config.steps, config.batch_size):
        loss = F.cross_entropy(model(clips[batch].unsqueeze(1)), classes[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        on_step()
    return model.eval()


def _new_model(n_labels: int, width: int, seed: int) -> ResNet18:
    with FIRST_WEIGHTS, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed("first weights of a classifier", seed))
        return ResNet18(n_labels, width)


@torch.inference_mode()
def log_probabilities(model: ResNet18, clips: Tensor, device: torch.device) -> Tensor:
    """(n, n_labels) float32 on the CPU: the log-probability of each label for clips (n, n_mels, n_frames)."""
    return torch.cat([model(part.unsqueeze(1).to(device)).log_softmax(1).cpu() for part in clips.split(TEST_BATCH)])
