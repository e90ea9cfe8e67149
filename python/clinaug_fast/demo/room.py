"""Where and how the demo's sounds are recorded: one theatre and one microphone per procedure.

Takes the dry sound of a source, leaves what the microphone's converter gets: the room's echo, the ventilation, the
pulse oximeter's beeps, suction left running, then the microphone's own colour, hiss and gain.
"""

from dataclasses import dataclass

import numpy as np

from clinaug_fast.demo.sources import Instruments, suction
from clinaug_fast.demo.synthesis import RATE, band, drift, filtered, noise, place, turning

PEAK = 0.89  # of full scale: a recordist turns the gain down before it clips


@dataclass(frozen=True)
class Procedure:
    """One operation: its tools, its room and its microphone."""

    tools: Instruments
    echo_s: float  # time to fall by 60 dB at 1 kHz
    echo_level: float  # RMS of the echo against the direct sound, at arm's length
    fan_hz: float
    fan_level: float
    beep_hz: float  # pulse oximeter
    pulse_per_minute: float
    suction_runs: float  # chance that a second suction runs in the background
    low_hz: float  # microphone's pass band
    high_hz: float
    tilt_db: float  # per octave about 1 kHz
    bump_hz: float  # resonance of its housing
    bump_db: float
    hiss_db: float  # its own noise, against the ventilation
    gain_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Procedure":
        return cls(
            tools=Instruments.draw(rng),
            echo_s=rng.uniform(0.25, 0.8),
            echo_level=rng.uniform(0.2, 0.7),
            fan_hz=rng.uniform(45.0, 130.0),
            fan_level=rng.uniform(0.1, 0.8),
            beep_hz=rng.uniform(450.0, 950.0),
            pulse_per_minute=rng.uniform(55.0, 95.0),
            suction_runs=rng.choice([0.0, 0.2, 0.4]),
            low_hz=rng.uniform(50.0, 250.0),
            high_hz=rng.uniform(8000.0, 17000.0),
            tilt_db=rng.uniform(-2.0, 1.5),
            bump_hz=rng.uniform(1200.0, 6000.0),
            bump_db=rng.uniform(-2.0, 5.0),
            hiss_db=rng.uniform(-15.0, 0.0),
            gain_db=rng.uniform(-6.0, 6.0),
        )

    def record(self, rng: np.random.Generator, dry: np.ndarray) -> np.ndarray:
        """(n,) float64 in [-PEAK, PEAK]: the sound `dry` as this procedure's microphone hears it."""
        n = len(dry)
        sound = self._in_the_room(rng, dry)
        sound *= 10 ** (rng.uniform(10.0, 30.0) / 20) / _loudness(sound)  # dB above the bed's air, which has RMS 1
        x = sound + self._bed(rng, n)
        if rng.random() < self.suction_runs:
            x += 10 ** (rng.uniform(-9.0, 3.0) / 20) * self._in_the_room(rng, suction(rng, n, self.tools))
        if rng.random() < 0.4:
            x += 10 ** (rng.uniform(-3.0, 12.0) / 20) * self._beeps(rng, n)
        x = filtered(x, self._microphone) + 10 ** (self.hiss_db / 20) * noise(rng, n, band(30.0, np.inf))
        x *= 10 ** ((self.gain_db - 42.0) / 20)
        return x * min(1.0, PEAK / np.max(np.abs(x)))

    def _in_the_room(self, rng: np.random.Generator, dry: np.ndarray) -> np.ndarray:
        """Direct sound and echo; the echo weighs more from farther away and dies sooner at high frequencies."""
        length = round(self.echo_s * 20) * RATE // 20
        t = np.arange(length) / RATE
        white = rng.standard_normal(length) * 10 ** (-3.0 * t / self.echo_s)
        early, late = filtered(white, band(120.0, 8000.0, 1)), filtered(white, band(120.0, 2500.0, 1))
        response = early * (1.0 - t / self.echo_s) + late * t / self.echo_s
        response[: round(RATE * rng.uniform(0.002, 0.008))] = 0.0  # the first wall is a metre or two away
        response *= self.echo_level * rng.uniform(0.5, 1.5) / np.sqrt(np.sum(response**2))
        response[0] = 1.0
        size = -(-(len(dry) + length) // 4096) * 4096  # a length without large primes, for the FFT's sake
        wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)
        return wet[: len(dry)]

    def _bed(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Ventilation: noise that falls with frequency, and the fan's hum."""
        air = noise(rng, n, lambda hz: band(25.0, np.inf)(hz) * (hz / 100.0) ** -0.8)
        cycles = rng.random() + np.cumsum(self.fan_hz * (1.0 + 0.003 * drift(rng, n, 2.0))) / RATE
        hum = turning(cycles, np.array([0.5, 0.3, 0.12, 0.05]) * np.exp(2j * np.pi * rng.random(4)))
        return air + self.fan_level * hum

    def _beeps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The patient's pulse as the monitor tells it, a short tone a beat."""
        x = np.zeros(n)
        t = np.arange(round(0.09 * RATE)) / RATE
        tone = turning(self.beep_hz * t, np.array([0.5, 0.08, 0.1])) * np.minimum(1.0, 200.0 * np.minimum(t, t[-1] - t))
        beat = 60.0 / self.pulse_per_minute
        for start in np.arange(rng.uniform(0.0, beat), n / RATE, beat):
            place(x, round(start * RATE), tone)
        return x

    def _microphone(self, hz: np.ndarray) -> np.ndarray:
        octaves = np.clip(np.log2(hz / 1000.0), -4.0, 4.0)
        bump = self.bump_db * np.exp(-((2.0 * np.log2(hz / self.bump_hz)) ** 2))
        return band(self.low_hz, self.high_hz)(hz) * 10 ** ((self.tilt_db * octaves + bump) / 20)


def _loudness(x: np.ndarray) -> float:
    """RMS of the loudest tenth of a second."""
    power = np.add.reduceat(x**2, np.arange(0, len(x), RATE // 10)) / (RATE // 10)
    return float(np.sqrt(power.max()))
