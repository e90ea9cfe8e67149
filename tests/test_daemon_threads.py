"""Native work on daemon threads while the interpreter ends: the process ends as its main thread wants."""

import subprocess
import sys

import pytest

WORK = {
    "log_mel": "native.log_mel(x, config)",
    "level": "native.level(x[0])",
    "residual_se": "residual_se()",
}
CODE = """
import sys, threading, time
import numpy as np
from clinaug_fast import MelConfig, _native, native
config = MelConfig(sample_rate=8000, n_fft=256, n_mels=16)
x = np.ones((1, 16000), np.float32)
kernel, w, y = _native.ResidualSe(""), np.ones(16000, np.float32), np.empty_like(x)
def residual_se():
    ins = [a.ctypes.data for a in (x, w, w, w, w)]
    kernel.forward(*ins, 0, y.ctypes.data, 0, 0, 0, 0, 4, 1, 1, 1, 16000, False, "relu", 0.0, 1)
class Lingering:
    def __del__(self, sleep=time.sleep):
        sleep(0.2)  # while the interpreter goes, without the lock
lingering, begun = Lingering(), threading.Barrier(3)
def work():
    {work}
    begun.wait()
    while True:
        {work}
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
time.sleep(0.05)
sys.exit(0)
"""


@pytest.mark.parametrize("name", WORK)
def test_a_daemon_thread_inside_a_kernel_does_not_abort_the_exit(name: str):
    command = [sys.executable, "-c", CODE.replace("{work}", WORK[name])]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
