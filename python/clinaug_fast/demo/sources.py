"""The six sounds of a total hip arthroplasty, each built from what makes it: air, arcs, motors and blows.

A sound takes a generator, a number of samples and the instruments of the procedure, and leaves (n,) float64 of any
scale; the room and the microphone (`room.py`) come afterwards. Ranges overlap where real tools do.
"""

from dataclasses import dataclass

import numpy as np

from clinaug_fast.demo.synthesis import (
    BAR_MODES,
    RATE,
    arrivals,
    band,
    drift,
    filtered,
    noise,
    place,
    pushes,
    struck,
    timbre,
    turning,
)


@dataclass(frozen=True)
class Instruments:
    """The tools of one theatre: they stay the same from take to take, and differ from procedure to procedure."""

    tube_m: float  # suction tip, both ends open
    mains_hz: float  # what the electrosurgical generator's arcs pulse with, doubled by rectification
    tone_hz: float  # its activation tone
    tone_level: float  # against the arcs
    saw_hz: float  # strokes a second of the oscillating blade
    saw_timbre: np.ndarray
    reamer_hz: float  # motor; the shaft turns at reamer_hz / gear_ratio
    reamer_timbre: np.ndarray
    gear_ratio: float
    impactor_hz: float  # first bending mode of the rod that the hammer strikes
    ratchet_hz: float  # ring of its pawl

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Instruments":
        return cls(
            tube_m=rng.uniform(0.14, 0.32),
            mains_hz=rng.choice([50.0, 60.0]),
            tone_hz=rng.uniform(380.0, 1000.0),
            tone_level=10 ** rng.uniform(-1.0, 0.0),
            saw_hz=rng.uniform(150.0, 250.0),
            saw_timbre=timbre(rng, 90, 1.0),
            reamer_hz=rng.uniform(80.0, 160.0),
            reamer_timbre=timbre(rng, 90, 1.2),
            gear_ratio=rng.uniform(10.0, 24.0),
            impactor_hz=rng.uniform(600.0, 1700.0),
            ratchet_hz=rng.uniform(1800.0, 4500.0),
        )


def suction(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """Turbulent air through a tube; now and then liquid blocks the tip, and it slurps and bubbles."""
    resonance = 343.0 / (2.0 * tools.tube_m)  # an open tube's first mode, and its multiples
    echo = rng.uniform(0.2, 0.6)  # of the pressure wave at the ends; short waves leave the tube
    top = rng.uniform(3000.0, 9000.0)
    hiss = filtered(
        noise(rng, n, band(rng.uniform(150.0, 500.0), top, 1)),
        lambda hz: 1.0 / np.abs(1.0 - echo * np.exp(-hz / 5000.0 - 2j * np.pi * hz / resonance)),
    )
    liquid = pushes(rng, n, rng.uniform(1.5, 6.0), rng.uniform(-1.6, 0.3))
    gurgle = noise(rng, n, band(120.0, rng.uniform(700.0, 2000.0))) * (1.0 + 0.6 * drift(rng, n, 25.0))
    bubbles = np.zeros(n)
    for start in arrivals(rng, n, rng.uniform(20.0, 90.0) * liquid):
        # Minnaert: a bubble of radius r m rings at about 3.26 / r Hz, higher as it nears the tip.
        seconds = rng.uniform(0.006, 0.03)
        t = np.arange(round(4 * seconds * RATE)) / RATE
        hz = 3.26 / rng.uniform(0.0016, 0.008) * (1.0 + rng.uniform(0.0, 6.0) * t)
        place(bubbles, start, rng.lognormal(0.0, 0.6) * np.exp(-t / seconds) * np.sin(2 * np.pi * hz * t))
    flow = 1.0 + 0.15 * drift(rng, n, 8.0) - rng.uniform(0.3, 0.9) * liquid
    return hiss * flow + liquid * (rng.uniform(0.3, 1.0) * gurgle + 1.5 * bubbles)


def coagulation(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """Electrosurgery: arcs that hiss in time with the rectified mains, crackles of boiling tissue, a warning tone."""
    t = np.arange(n) / RATE
    on = _activation(rng, n)
    contact = pushes(rng, n, rng.uniform(2.0, 7.0), rng.uniform(-0.5, 1.0))
    pulse = np.abs(np.sin(2 * np.pi * tools.mains_hz * t + rng.uniform(0.0, np.pi))) ** rng.uniform(1.0, 5.0)
    depth = rng.uniform(0.25, 0.9)
    arcs = noise(rng, n, band(rng.uniform(1000.0, 3000.0), rng.uniform(9000.0, 16000.0), 1))
    arcs *= (1.0 - depth + depth * pulse) * (0.2 + contact)
    sparks = np.zeros(n)
    hits = arrivals(rng, n, 10 ** rng.uniform(1.6, 2.8) * contact * on)
    sparks[hits] = rng.lognormal(0.0, 0.7, len(hits)) * rng.choice([-1.0, 1.0], len(hits))
    crackle = rng.uniform(2.0, 8.0) * filtered(sparks, band(rng.uniform(600.0, 1500.0), 9000.0, 1))
    tone = turning(tools.tone_hz * t, np.array([1.0, 0.25, 0.12, 0.04]) / 2)
    steam = 0.3 * noise(rng, n, band(2500.0, 12000.0, 1)) * _smoothed(on, 0.15)
    return on * (arcs + crackle + 2.0 * tools.tone_level * tone) + steam


def _activation(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) 0 or 1 with 4 ms edges: the surgeon's finger on the button, sometimes lifted once."""
    on = np.zeros(n)
    on[round(n * rng.uniform(0.0, 0.15)) : round(n * rng.uniform(0.8, 1.1))] = 1.0
    if rng.random() < 0.5:
        lift = round(n * rng.uniform(0.3, 0.6))
        on[lift : lift + round(RATE * rng.uniform(0.1, 0.4))] = 0.0
    return _smoothed(on, 0.004)


def _smoothed(x: np.ndarray, seconds: float) -> np.ndarray:
    """x averaged over the last `seconds`."""
    length = round(seconds * RATE)
    total = np.cumsum(np.concatenate([np.zeros(length), x]))
    return (total[length:] - total[:-length]) / length


def sawing(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """An oscillating saw: the motor's saw-tooth sags under load, teeth tear the bone twice a stroke."""
    load = pushes(rng, n, rng.uniform(0.8, 3.0), rng.uniform(-0.8, 0.8))
    hz = tools.saw_hz * (1.02 - rng.uniform(0.04, 0.18) * load + 0.006 * drift(rng, n, 12.0))
    cycles = rng.random() + np.cumsum(hz) / RATE
    motor = turning(cycles, tools.saw_timbre) * (1.0 - 0.35 * load)
    stroke = np.abs(np.sin(2 * np.pi * cycles)) ** rng.uniform(0.8, 2.5)
    tearing = noise(rng, n, band(rng.uniform(1200.0, 2500.0), rng.uniform(6000.0, 11000.0)))
    return motor + rng.uniform(0.7, 2.5) * tearing * load * (0.25 + stroke) * (1.0 + 0.2 * drift(rng, n, 60.0))


def reaming(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """A geared reamer: a lower motor that sags deeply, and a scrape that comes back with each turn of the shaft."""
    load = pushes(rng, n, rng.uniform(0.6, 2.0), rng.uniform(-0.6, 1.0))
    hz = tools.reamer_hz * (1.05 - rng.uniform(0.08, 0.3) * load + 0.01 * drift(rng, n, 5.0))
    cycles = rng.random() + np.cumsum(hz) / RATE
    shaft = cycles / tools.gear_ratio
    motor = turning(cycles, tools.reamer_timbre) * (1.0 - 0.25 * load)
    teeth = turning(shaft * rng.integers(12, 28), timbre(rng, 12, 0.8))
    ridge = np.maximum(0.0, 0.6 + turning(shaft, timbre(rng, 6, 0.6) / 2))  # an uneven bone: the same bumps each turn
    scrape = noise(rng, n, band(rng.uniform(300.0, 1000.0), rng.uniform(2500.0, 6000.0))) * (1.0 + 0.3 * teeth)
    return motor + rng.uniform(0.8, 3.5) * (scrape + 0.3 * teeth) * load * ridge


def insertion(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """Hammer blows on the impactor: its metal rings, the bone thuds, and the pitch rises as the implant seats."""
    x = np.zeros(n)
    starts = _blows(rng, n, rng.uniform(0.22, 0.6))
    rise, strength = rng.uniform(0.0, 0.025), rng.lognormal(0.0, 0.4)
    ring_s, thud = 10 ** rng.uniform(-2.0, -0.9), rng.uniform(0.5, 2.5)
    for blow, start in enumerate(starts):
        hit = strength * rng.lognormal(0.0, 0.25)
        seated = 1.0 + rise * blow
        place(x, start, hit * _blow(rng, tools.impactor_hz * seated, ring_s, thud))
        if rng.random() < 0.4:  # the hammer bounces
            place(
                x, start + round(RATE * rng.uniform(0.04, 0.11)), 0.3 * hit * _blow(rng, tools.impactor_hz, ring_s, 0.5)
            )
    return x


def _blows(rng: np.random.Generator, n: int, period_s: float) -> list[int]:
    """Sample numbers of blows about `period_s` apart, as regular as an arm is."""
    starts = [round(RATE * rng.uniform(0.03, 0.3))]
    while (later := starts[-1] + round(RATE * period_s * rng.lognormal(0.0, 0.18))) < n - RATE // 20:
        starts.append(later)
    return starts


def _blow(rng: np.random.Generator, hz: float, ring_s: float, thud: float) -> np.ndarray:
    """One blow: a bar's bending modes (higher ones die sooner), damped ones of the bone, a click of contact."""
    bar = BAR_MODES * hz * rng.normal(1.0, 0.004, len(BAR_MODES))
    softness = rng.uniform(2500.0, 7000.0)  # a soft contact excites less of the high modes
    body = np.exp(rng.uniform(np.log(80.0), np.log(2500.0), 8))
    x = struck(
        np.concatenate([bar, body]),
        np.concatenate([ring_s * (hz / bar) ** 0.5, rng.uniform(2.0, 6.0, 8) / body]),  # bone is damped: a few periods
        np.concatenate(
            [rng.lognormal(0.0, 0.4, len(bar)) * np.exp(-bar / softness), thud * rng.lognormal(0.0, 0.3, 8)]
        ),
    )
    click = round(RATE * rng.uniform(0.001, 0.004))
    x[:click] += 2.0 * rng.standard_normal(click) * np.linspace(1.0, 0.0, click)
    return x


def adjustment(rng: np.random.Generator, n: int, tools: Instruments) -> np.ndarray:
    """Hands at work: ratchets, light taps, clatter and scrapes, a few of them in no particular order."""
    x = np.zeros(n)
    gestures = (_ratchet, _taps, _clatter, _scrape)
    start = round(RATE * rng.uniform(0.02, 0.25))
    while start < n - RATE // 10:
        gesture = gestures[rng.choice(4, p=(0.25, 0.35, 0.2, 0.2))]
        event = rng.lognormal(0.0, 0.4) * gesture(rng, tools)
        place(x, start, event)
        start += round(min(len(event), RATE) * rng.uniform(0.5, 1.1)) + round(RATE * rng.uniform(0.02, 0.3))
    return x


def _ratchet(rng: np.random.Generator, tools: Instruments) -> np.ndarray:
    """A pawl that falls over 4 to 14 teeth, faster in the middle of the hand's swing."""
    n_teeth = int(rng.integers(4, 15))
    gaps = (
        rng.uniform(0.025, 0.07) * (1.0 + 0.8 * np.linspace(-1.0, 1.0, n_teeth) ** 2) * rng.lognormal(0.0, 0.1, n_teeth)
    )
    starts = np.round(np.cumsum(gaps) * RATE).astype(int)
    x = np.zeros(starts[-1] + RATE // 8)
    for start in starts:
        hz = tools.ratchet_hz * np.array([1.0, 1.71, 2.6]) * rng.normal(1.0, 0.01, 3)
        place(x, start, 0.8 * struck(hz, np.array([0.006, 0.004, 0.003]), rng.lognormal(0.0, 0.3, 3)))
    return x


def _taps(rng: np.random.Generator, tools: Instruments) -> np.ndarray:
    """One to four light blows, mostly on smaller metal than the impactor."""
    hz = tools.impactor_hz * rng.uniform(0.9, 1.9)
    ring_s, thud = 10 ** rng.uniform(-2.0, -1.0), rng.uniform(0.1, 1.0)
    x = np.zeros(round(RATE * 1.4))
    start = 0
    for _ in range(rng.integers(1, 5)):
        place(x, start, rng.lognormal(-0.3, 0.4) * _blow(rng, hz, ring_s, thud))
        start += round(RATE * rng.uniform(0.12, 0.4))
    return x[: start + RATE // 20]


def _clatter(rng: np.random.Generator, tools: Instruments) -> np.ndarray:
    """An instrument put down on a tray: it bounces, each bounce sooner and weaker."""
    x = np.zeros(RATE // 2)
    hz = rng.uniform(900.0, 3500.0) * np.array([1.0, 1.58, 2.24, 2.92, 3.7])  # a plate's, less orderly than a bar's
    gap, level, start = rng.uniform(0.05, 0.12), 0.7, 0
    while gap > 0.008:
        place(x, start, level * struck(hz, rng.uniform(0.01, 0.05, 5), rng.lognormal(-0.7, 0.6, 5)))
        start, gap, level = start + round(RATE * gap), gap * rng.uniform(0.55, 0.8), level * 0.75
    return x


def _scrape(rng: np.random.Generator, tools: Instruments) -> np.ndarray:
    """Metal drawn along metal or bone: rough noise that swells and stops, coloured by what is scraped."""
    n = round(RATE * rng.uniform(0.12, 0.5))
    low = rng.uniform(800.0, 3000.0)
    rough = noise(rng, n, band(low, low * rng.uniform(1.5, 3.0)))
    return (
        0.5 * rough * np.sin(np.pi * np.linspace(0.0, 1.0, n)) ** 0.5 * np.maximum(0.0, 1.0 + 0.7 * drift(rng, n, 40.0))
    )


SOUNDS = {
    "suction": suction,
    "coagulation": coagulation,
    "sawing": sawing,
    "reaming": reaming,
    "insertion": insertion,
    "adjustment": adjustment,
}
