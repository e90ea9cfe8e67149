"""Typed settings: the mel contract, how recordings are cut into clips, the GAN's and the classifier's knobs.

Every stage takes one of these, stores it beside its output and refuses to go on in a folder that was made with
another. A wrong value raises `SettingsError` with the value, what was expected and, where there is one, the cure.
"""

import json
import math
import operator
import sys
from collections.abc import Mapping
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.runs import canonical_json, fingerprint

N_FFT_MAX = 1 << 20
N_MELS_MAX = 1024
GAN_STRIDE = 16  # its networks halve and double the sides of a clip four times
COUNT_MAX = (1 << 31) - 1  # of what has no limit of its own: the product of two still fits 64 bits
LATENT_DIM_MAX = BATCH_MAX = 1 << 16
DRAWS_MAX = 1 << 24  # clips that a classifier sees, all drawn before its first step
RATE_MAX = 1e30  # what float32 holds; one that learns nothing is told by its losses


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Base: immutable (which type checkers must be told of each subclass), unknown keys refused, errors as one sentence
    per field; None means the default."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**{key: value for key, value in values.items() if value is not None})
        except ValidationError as error:
            # A default that follows from a wrong field is that field's fault alone.
            errors = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
            raise SettingsError("; ".join(map(_sentence, errors))) from None

    def with_changes(self, **changes: Any) -> Self:
        """A copy with the changes that are not None, checked anew; fields never given follow the changed ones."""
        return self.model_copy(update={key: value for key, value in changes.items() if value is not None})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """pydantic's, checked anew: a plain one keeps what was worked out of the old fields. None means the default."""
        return type(self)(**self.model_dump(exclude_unset=True) | dict(update or {}))

    def copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """`model_copy` by its old name."""
        return self.model_copy(update=update, deep=deep)


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """An int of Python's, whose or numpy's `value` may be; SettingsError for any other number, or a smaller one."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise SettingsError(f"{name} is {value!r}; expected a whole number") from None
    if least is not None and number < least:
        raise SettingsError(f"{name} is {number}; expected at least {least}")
    return number


def _not_of_numpy(number: int) -> int:
    """numpy's integers of few bits overflow; symbolic ones of torch stay what they are."""
    return int(number) if isinstance(number, Integral) else number


def gan_side(side: int) -> int:
    """The largest side of a clip that the GAN takes and that is not larger; its smallest where there is none."""
    return max(GAN_STRIDE, side // GAN_STRIDE * GAN_STRIDE)


def _sentence(error: Any) -> str:
    """One pydantic error as "name is value; expected ...", and what to do."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = error["loc"][0]
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting; expected one of those that exist. Check its spelling"
    expected = message.removeprefix("Input should be ").replace("greater than or equal to", "at least")
    expected = expected.replace("less than or equal to", "at most").replace("greater than", "more than")
    return (
        f"{name} is {error['input']!r}; expected {expected[0].lower()}{expected[1:]}. "
        "Change it, or leave it out for its default"
    )


# What each library calls a log-mel, apart from its sizes. librosa: feature.melspectrogram + power_to_db(top_db=None),
# 0.10 and later; torchaudio: transforms.MelSpectrogram + AmplitudeToDB("power"). It takes its last bin for
# sample_rate // 2, so its filters lie elsewhere where n_fft or the rate is odd, mostly by tenths of dB: we do not.
OF_BOTH = {"window": "hann", "center": True, "power": 2, "log": "db", "floor": 1e-10}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "librosa": OF_BOTH | {"mel_scale": "slaney", "norm": "slaney", "pad_mode": "constant"},
    "torchaudio": OF_BOTH | {"mel_scale": "htk", "norm": "none", "pad_mode": "reflect"},
}


class MelConfig(Settings, frozen=True):
    """The mel contract: everything that says what a log-mel is.

    The log-mel of a waveform x is ``log(max(M |STFT(x)|^power, floor))`` with M the (n_mels, n_fft // 2 + 1)
    triangular filter bank. Frame f covers samples ``f * hop_length - n_fft // 2 + [0, n_fft)`` when `center`,
    ``f * hop_length + [0, n_fft)`` otherwise; samples outside x follow `pad_mode`.

    `log` is the natural or the decimal logarithm, or decibels: 10 log10 of power 2, 20 log10 of power 1.

    Units: rates and frequencies in Hz, lengths in samples, `floor` in units of M |STFT|^power.
    `like="librosa"` or `like="torchaudio"` presets that library's conventions (mel scale, norm, padding, dB, floor)
    where a field is not given; it is not stored itself.
    """

    sample_rate: int = Field(default=44100, ge=1, le=COUNT_MAX)
    n_fft: int = Field(default=2048, ge=2, le=N_FFT_MAX)
    win_length: int = Field(
        default_factory=lambda fields: fields["n_fft"],
        ge=1,
        description="window samples, centred in n_fft; default n_fft",
    )
    hop_length: int = Field(
        default_factory=lambda fields: max(1, fields["n_fft"] // 4),
        ge=1,
        le=COUNT_MAX,
        description="samples between frames; default n_fft // 4",
    )
    window: Literal["hann", "hamming", "blackman", "boxcar"] = "hann"
    n_mels: int = Field(default=64, ge=1, le=N_MELS_MAX)
    f_min: Annotated[float, AfterValidator(lambda hz: hz + 0.0)] = Field(default=0.0, ge=0.0)  # JSON knows a -0.0
    f_max: float = Field(
        default_factory=lambda fields: fields["sample_rate"] / 2, gt=0.0, description="default sample_rate / 2"
    )
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney", "none"] = "slaney"
    power: Literal[1, 2] = 2
    center: bool = True
    pad_mode: Literal["reflect", "constant", "edge"] = "reflect"
    log: Literal["ln", "log10", "db"] = "ln"
    floor: float = Field(default=1e-10, gt=0.0, le=1e30)

    if TYPE_CHECKING:  # else they would not know of `like`, nor that None means the default

        def __init__(
            self,
            *,
            like: Literal["librosa", "torchaudio"] | None = None,
            sample_rate: int | None = None,
            n_fft: int | None = None,
            win_length: int | None = None,
            hop_length: int | None = None,
            window: Literal["hann", "hamming", "blackman", "boxcar"] | None = None,
            n_mels: int | None = None,
            f_min: float | None = None,
            f_max: float | None = None,
            mel_scale: Literal["slaney", "htk"] | None = None,
            norm: Literal["slaney", "none"] | None = None,
            power: Literal[1, 2] | None = None,
            center: bool | None = None,
            pad_mode: Literal["reflect", "constant", "edge"] | None = None,
            log: Literal["ln", "log10", "db"] | None = None,
            floor: float | None = None,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, values: dict[str, Any]) -> dict[str, Any]:
        like = values.get("like")
        if like is None:
            return values
        if not isinstance(like, str) or like not in CONVENTIONS:
            raise ValueError(f"like is {like!r}; expected one of {', '.join(CONVENTIONS)}")
        return CONVENTIONS[like] | {key: value for key, value in values.items() if key != "like"}

    @model_validator(mode="after")
    def _check(self) -> "MelConfig":
        if self.win_length > self.n_fft:
            raise ValueError(
                f"win_length is {self.win_length}; expected at most n_fft = {self.n_fft}. Lower it, or raise n_fft"
            )
        if self.f_max > self.sample_rate / 2:
            raise ValueError(
                f"f_max is {self.f_max:g} Hz; expected at most the Nyquist frequency {self.sample_rate / 2:g} Hz "
                f"of sample_rate {self.sample_rate}. Set f_max to {self.sample_rate / 2:g} or lower"
            )
        if self.floor < sys.float_info.min:
            raise ValueError(
                f"floor is {self.floor:g}; expected at least {sys.float_info.min:g}, since the kernels take no "
                "logarithm of denormal numbers. Raise it"
            )
        if self.f_min >= self.f_max:
            raise ValueError(f"f_min is {self.f_min:g} Hz; expected below f_max = {self.f_max:g} Hz. Lower f_min")
        return self

    def model_post_init(self, context: Any) -> None:
        # At once: torch.compile does not see through the lock that 3.11's cached_property takes.
        _ = self.contract, self.digest

    @cached_property
    def contract(self) -> str:
        """All fields as canonical JSON; `from_contract` reads it back."""
        return canonical_json(self.model_dump())

    @classmethod
    def stored_in(cls, path: object, values: Mapping[str, Any], mend: str) -> Self:
        """The contract that a file tells; InputError with the file and the cure where it is none."""
        try:
            return cls(**values)
        except (SettingsError, TypeError) as error:
            raise InputError(f"{path} has a mel contract that is none: {error}. {mend}") from None

    @classmethod
    def from_contract(cls, contract: str) -> "MelConfig":
        return cls(**json.loads(contract))

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that name the contract."""
        return fingerprint(self.contract)

    @property
    def unit_db(self) -> float:
        """What a log-mel's unit is in dB, 10 log10 of power or 20 log10 of magnitude."""
        return {"db": 1.0, "log10": 20.0 / self.power, "ln": 20.0 / self.power / math.log(10.0)}[self.log]

    @property
    def signature(self) -> str:
        """The contract on one line."""
        window = self.window if self.win_length == self.n_fft else f"{self.window} {self.win_length}"
        frame = f"center {self.pad_mode}" if self.center else "no center"
        return (
            f"{self.sample_rate} Hz, n_fft {self.n_fft}, hop {self.hop_length}, {window}, {frame}, "
            f"{self.n_mels} mels {self.f_min:g}-{self.f_max:g} Hz {self.mel_scale}/{self.norm}, "
            f"power {self.power}, {self.log} floor {self.floor:g} [{self.digest}]"
        )

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of `n_samples`; an empty waveform has none."""
        n_samples = _not_of_numpy(n_samples)
        padded = n_samples + 2 * (self.n_fft // 2) * self.center
        return 0 if n_samples <= 0 or padded < self.n_fft else 1 + (padded - self.n_fft) // self.hop_length

    def n_samples(self, n_frames: int) -> int:
        """The shortest waveform that has exactly `n_frames` frames, 1 or more; SettingsError where none has."""
        n_frames = whole_number("n_frames", n_frames, least=1)
        span = self.n_fft + (n_frames - 1) * self.hop_length
        n_samples = max(1, span - 2 * (self.n_fft // 2) * self.center)
        if self.n_frames(n_samples) != n_frames:  # centred frames at every sample: even one sample has two
            raise SettingsError(
                f"n_frames is {n_frames}; expected at least {self.n_frames(n_samples)} with hop_length "
                f"{self.hop_length} and centred frames. Raise n_frames, or turn center off"
            )
        return n_samples


class ClipConfig(Settings, frozen=True):
    """How a recording is cut into clips of one fixed length, the unit of a feature set."""

    n_frames: int = Field(default=64, ge=1, le=COUNT_MAX, description="log-mel frames of a clip")
    stride_frames: int = Field(
        default_factory=lambda fields: fields["n_frames"],
        ge=1,
        le=COUNT_MAX,
        description="frames between clip starts; default n_frames: no overlap",
    )
    short: Literal["pad", "tile"] = Field(
        default="pad", description="a recording shorter than a clip: zeros, or repeated"
    )
    min_seconds: float = Field(default=0.1, ge=0.0, description="shorter recordings are rejected")
    quiet_db: float = Field(
        default=40.0, gt=0.0, description="clips whose RMS is this far below their recording's loudest are dropped"
    )


class GanConfig(Settings, frozen=True):
    """A conditional Wasserstein GAN with gradient penalty and its training."""

    model: Literal["se-cwgan-gp", "res-cwgan-gp", "cwgan-gp"] = "se-cwgan-gp"
    width: int = Field(
        default=16, ge=1, le=512, description="channels of the last generator stage; earlier ones have more"
    )
    latent_dim: int = Field(default=128, ge=1, le=LATENT_DIM_MAX)
    steps: int = Field(default=2000, ge=1, le=COUNT_MAX, description="generator steps")
    batch_size: int = Field(default=32, ge=2, le=BATCH_MAX)
    n_critic: int = Field(default=5, ge=1, le=COUNT_MAX, description="critic steps a generator step")
    gradient_penalty: float = Field(default=10.0, ge=0.0, le=RATE_MAX)
    generator_rate: float = Field(default=5e-4, gt=0.0, le=RATE_MAX)
    critic_rate: float = Field(default=1e-3, gt=0.0, le=RATE_MAX)
    ema: float = Field(
        default=0.999,
        ge=0.0,
        lt=1.0,
        description="highest decay of the averaged generator; before, (1 + step) / (10 + step)",
    )
    seed: int = Field(default=0, ge=0)


class ClassifierConfig(Settings, frozen=True):
    """The ResNet-18 that judges an augmentation, and its training.

    A step of 16 clips of 64 x 64 on one core took 6, 10, 31, 103 ms at width 8, 16, 32, 64, on a busier machine twice
    that, so the default costs 10 to 20 s a classifier and five folds with three seeds some minutes an arm.
    """

    width: int = Field(
        default=16, ge=1, le=512, description="channels of the first stage; 64 is the published ResNet-18"
    )
    steps: int = Field(default=1000, ge=1, le=COUNT_MAX, description="gradient steps, the same in every arm")
    batch_size: int = Field(default=16, ge=2, le=BATCH_MAX)
    learning_rate: float = Field(default=1e-3, gt=0.0, le=RATE_MAX)
    weight_decay: float = Field(default=1e-2, ge=0.0, le=RATE_MAX)
    seeds: int = Field(default=3, ge=1, le=1000, description="classifiers a fold and arm, averaged")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> "ClassifierConfig":
        if (draws := self.steps * self.batch_size) > DRAWS_MAX:
            raise ValueError(f"steps x batch_size is {draws} clips; expected at most {DRAWS_MAX}. Lower one of them")
        return self


class AugmentConfig(Settings, frozen=True):
    """A classical augmentation of real clips: which, how strong, and how many copies of each clip.

    A strength belongs to one of them; another than its default, given with another of them, is refused.
    """

    by: Literal["noise", "pitch", "stretch", "specaugment"]
    snr_db: float = Field(
        default=10.0, ge=-20.0, le=100.0, description="noise: from so far below a clip to 20 dB further"
    )
    semitones: float = Field(default=2.0, gt=0.0, le=12.0, description="pitch: up or down by at most so many")
    rate: float = Field(default=1.25, gt=1.0, le=2.0, description="stretch: from so much slower to so much faster")
    mask: float = Field(
        default=0.2, gt=0.0, le=0.5, description="specaugment: a mask's largest share of bands or frames"
    )
    copies: int = Field(default=1, ge=1, le=100, description="altered clips of each real one")
    seed: int = Field(default=0, ge=0)

    @property
    def strength(self) -> str:
        """The name of the field that this one has."""
        return STRENGTHS[self.by]

    @model_validator(mode="after")
    def _check(self) -> "AugmentConfig":
        for by, name in STRENGTHS.items():
            if by != self.by and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is given beside {self.by}; expected it with {by} alone. Leave it out")
        return self


STRENGTHS = {"noise": "snr_db", "pitch": "semitones", "stretch": "rate", "specaugment": "mask"}


class Preset(Settings, frozen=True):
    """A mel contract and a clip that suit a kind of recording."""

    mel: MelConfig
    clip: ClipConfig


PRESETS: dict[str, Preset] = {
    # 44.1 kHz operating-room microphones; the sizes of Margaryan, Seibold et al. 2022: 64 x 64, 0.73 s a clip.
    "surgical": Preset(mel=MelConfig(sample_rate=44100, n_fft=2048, hop_length=512, n_mels=64), clip=ClipConfig()),
    # Electronic stethoscopes: 95 % of the energy of heart sounds lies below 250 Hz, so f_max is 1 kHz; 1.01 s a clip
    # holds a whole cycle at 60 beats a minute, and clips that are shorter are tiled rather than padded with silence.
    "heart": Preset(
        mel=MelConfig(sample_rate=8000, n_fft=512, hop_length=128, n_mels=64, f_min=20.0, f_max=1000.0),
        clip=ClipConfig(short="tile"),
    ),
}
