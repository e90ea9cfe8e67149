"""Discrete Fourier transforms as graphs of additions and products, for the scripts that write code at build time.

Nodes are numbered; asking twice for the same term gives the same node, zeros are never computed, signs move outwards,
and a transform of real input is made of the lower half of its spectrum only.
"""

import cmath
import math


class Graph:
    """Arithmetic on numbered nodes; asking twice for the same term gives the same node.

    melting: a turn by c - i s, of at most an eighth, is c (1 - i t), t = s / c; so c melts into the sums that follow.
    """

    def __init__(self, melting=False):
        self.melting = melting
        self.nodes = []  # ("load", text) | ("add" | "sub", a, b) | ("mul", factor text, a) | ("neg", a)
        self.index = {}
        self.n_inputs = 0  # nodes below are emitted where they are first needed, the others in order of creation
        self.zero = self._node("zero")

    def _node(self, *key):
        if key not in self.index:
            self.index[key] = len(self.nodes)
            self.nodes.append(key)
        return self.index[key]

    def load(self, text):
        return self._node("load", text)

    def neg(self, a):
        if a == self.zero:
            return a
        return self.nodes[a][1] if self.nodes[a][0] == "neg" else self._node("neg", a)

    def mul(self, factor, a):
        """factor: a Python float, or the C++ text of a scalar."""
        if a == self.zero or factor == 0.0:
            return self.zero
        if self.nodes[a][0] == "neg":
            return self.neg(self.mul(factor, self.nodes[a][1]))
        if isinstance(factor, float):
            if factor < 0.0:
                return self.neg(self.mul(-factor, a))
            if factor == 1.0:
                return a
            factor = f"Real({factor:.17g})"
        return self._node("mul", factor, a)

    def add(self, a, b):
        if a == self.zero:
            return b
        if b == self.zero:
            return a
        if self.nodes[b][0] == "neg":
            return self.sub(a, self.nodes[b][1])
        if self.nodes[a][0] == "neg":
            return self.sub(b, self.nodes[a][1])
        if self._same_constant(a, b):
            return self.mul(self.nodes[a][1], self.add(self.nodes[a][2], self.nodes[b][2]))
        return self._node("add", *sorted((a, b)))

    def sub(self, a, b):
        if b == self.zero:
            return a
        if a == self.zero:
            return self.neg(b)
        if self.nodes[b][0] == "neg":
            return self.add(a, self.nodes[b][1])
        if self.nodes[a][0] == "neg":
            return self.neg(self.add(self.nodes[a][1], b))
        if self._same_constant(a, b):
            return self.mul(self.nodes[a][1], self.sub(self.nodes[a][2], self.nodes[b][2]))
        if ("sub", b, a) in self.index:
            return self.neg(self.index["sub", b, a])
        return self._node("sub", a, b)

    def _same_constant(self, a, b):
        left, right = self.nodes[a], self.nodes[b]
        return left[0] == right[0] == "mul" and left[1] == right[1] and left[1].startswith("Real(")

    # ---- complex values are pairs of nodes ----

    def cadd(self, x, y):
        return self.add(x[0], y[0]), self.add(x[1], y[1])

    def csub(self, x, y):
        return self.sub(x[0], y[0]), self.sub(x[1], y[1])

    def conj(self, x):
        return x[0], self.neg(x[1])

    def turn(self, x, k, n):
        """x * exp(-2 pi i k / n), exact at the eighths of a turn."""
        k %= n
        if 4 * k >= n:  # a quarter turn: (re, im) -> (im, -re)
            return self.turn((x[1], self.neg(x[0])), 4 * k - n, 4 * n)
        if k == 0:
            return x
        if 8 * k == n:
            half = math.sqrt(0.5)
            return self.mul(half, self.add(x[0], x[1])), self.mul(half, self.sub(x[1], x[0]))
        w = cmath.exp(-2j * math.pi * k / n)
        c, s = w.real, -w.imag
        if not self.melting:
            return self.add(self.mul(c, x[0]), self.mul(s, x[1])), self.sub(self.mul(c, x[1]), self.mul(s, x[0]))
        if c < s:  # a quarter turn, and back
            x, c, s = (x[1], self.neg(x[0])), s, -c
        t = s / c
        return self.mul(c, self.add(x[0], self.mul(t, x[1]))), self.mul(c, self.sub(x[1], self.mul(t, x[0])))


def dft(g, z):
    """X[k] = sum_j z[j] exp(-2 pi i j k / n)."""
    n = len(z)
    if n == 1:
        return z
    radix = next((r for r in (4, 2, 3, 5, 7) if n % r == 0 and n > r), n)
    if n > 64 and n % 8 == 0:  # fewer values wait in memory between two steps
        radix = 8
    if n == 8 or n == 4:
        radix = 2
    if radix == n:
        return prime_dft(g, z)
    m = n // radix
    real = all(im == g.zero for _, im in z)
    if math.gcd(radix, m) == 1:
        return coprime_dft(g, z, radix, m, real)
    parts = [dft(g, z[r::radix]) for r in range(radix)]
    out = [None] * n
    for k in range(m // 2 + 1 if real else m):
        column = dft(g, [g.turn(parts[r][k], r * k, n) for r in range(radix)])
        for q in range(radix):
            set_bin(g, out, k + q * m, column[q], real)
    return out


def set_bin(g, out, k, value, real):
    """Where the input is real the upper half is the conjugate of the lower one."""
    n = len(out)
    if not real:
        out[k] = value
    elif 2 * k <= n:
        out[k] = value
        out[-k % n] = g.conj(value) if k and 2 * k != n else value
    elif out[k] is None:
        out[k], out[n - k] = value, g.conj(value)


def coprime_dft(g, z, p, m, real):
    """Good-Thomas: no twiddles where p and m have no common factor."""
    n = p * m
    rows = [dft(g, [z[(m * a + p * b) % n] for a in range(p)]) for b in range(m)]
    out = [None] * n
    for ka in range(p // 2 + 1 if real else p):
        column = dft(g, [rows[b][ka] for b in range(m)])
        for kb in range(m):
            k = next(k for k in range(ka, n, p) if k % m == kb)
            out[k] = column[kb]
            if real and ka:
                out[-k % n] = g.conj(column[kb])
    return out


def prime_dft(g, z):
    """n = 2 or an odd prime, by sums and differences of the points j and n - j."""
    n = len(z)
    if n == 2:
        return [g.cadd(*z), g.csub(*z)]
    if n == 5:
        return five_point_dft(g, z)
    half = range(1, n // 2 + 1)
    sums = [g.cadd(z[j], z[n - j]) for j in half]
    differences = [g.csub(z[j], z[n - j]) for j in half]
    out = [z[0]] * n
    for s in sums:
        out[0] = g.cadd(out[0], s)
    for k in half:
        even, odd = z[0], (g.zero, g.zero)
        for j, s, d in zip(half, sums, differences, strict=True):
            angle = 2 * math.pi * (j * k % n) / n
            even = tuple(g.add(e, g.mul(math.cos(angle), v)) for e, v in zip(even, s, strict=True))
            odd = tuple(g.add(o, g.mul(math.sin(angle), v)) for o, v in zip(odd, d, strict=True))
        turned = odd[1], g.neg(odd[0])  # -i * odd
        out[k], out[n - k] = g.cadd(even, turned), g.csub(even, turned)
    return out


def five_point_dft(g, z):
    """With cos(2 pi / 5) + cos(4 pi / 5) = -1/2 and the ratio of the sines drawn out, half the products go."""
    s14, d14, s23, d23 = g.cadd(z[1], z[4]), g.csub(z[1], z[4]), g.cadd(z[2], z[3]), g.csub(z[2], z[3])
    total, contrast = g.cadd(s14, s23), g.csub(s14, s23)
    sine, ratio = math.sin(2 * math.pi / 5), math.sin(4 * math.pi / 5) / math.sin(2 * math.pi / 5)

    def scale(factor, x):
        return g.mul(factor, x[0]), g.mul(factor, x[1])

    def turned(x):  # -i * x
        return x[1], g.neg(x[0])

    middle = g.csub(z[0], scale(0.25, total))
    tilt = scale(math.sqrt(5) / 4, contrast)
    even1, even2 = g.cadd(middle, tilt), g.csub(middle, tilt)
    odd1 = turned(scale(sine, g.cadd(d14, scale(ratio, d23))))
    odd2 = turned(scale(sine, g.csub(scale(ratio, d14), d23)))
    return [
        g.cadd(z[0], total),
        g.cadd(even1, odd1),
        g.cadd(even2, odd2),
        g.csub(even2, odd2),
        g.csub(even1, odd1),
    ]
