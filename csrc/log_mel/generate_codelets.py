"""Writes codelets.hpp, the straight-line butterflies of the frames-in-lanes log-mel kernel, and what each costs,
codelet_costs.hpp. Run by the build.

    python generate_codelets.py FOLDER

Every lane of a vector V is another frame, so a codelet is scalar code on V: no shuffles, one broadcast per constant.
A real transform of N = leaf * radix * ... * radix points is a decimation in time:

    Leaf<n>      n samples, read through Samples::at, which windows them -> their n-point spectrum
    Combine<r>   r spectra of m points that stand side by side -> one of r * m points, in place
    Final<r>     the last such step: r spectra of m points -> |X|^2 of the lower half of r * m points, in place
    Coprime<r>   the same without twiddles (Good-Thomas), where r and m have no common factor

A spectrum of n points is "halfcomplex", as FFTW calls it: Re X[k] at k, Im X[k] at n - k. A step has three kinds of
bin: `zero` (k = 0, real inputs), `inner` (k and m - k, complex inputs with twiddles) and `middle` (k = m / 2, real
inputs). Multiplying a spectrum by its twiddle c - i s is written c * (1 - i t) with t = s / c, because the factor c
then melts into the first butterfly as a fused multiply-add. Common terms are computed once, zeros and conjugate
halves are never computed (Frigo, "A fast Fourier transform compiler", 1999).
"""

import sys
from pathlib import Path
from re import sub

from codelet_graph import Graph, dft
from codelet_order import alternately, base, depth_first

LEAVES = (*range(2, 17), 20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 96, 128)
RADICES = (2, 3, 4, 5, 7, 8, 16)
COPRIME = 16  # smaller radices wait for the second-level cache with twiddles and without
LANES = (4, 8, 16)
# Steps of the usual sizes, (radix, points of a spectrum), that have codelets which know how far apart the spectra lie.
KNOWN_COMBINES = ((4, 64), (4, 128), (5, 15), (8, 128))
KNOWN_FINALS = ((4, 50), (4, 64), (8, 20), (8, 60), *((16, m) for m in (20, 32, 40, 50, 60, 64, 128, 256, 512, 1024)))
KNOWN_COPRIMES = ((16, 15), (16, 25), (16, 75))


def emit(g, stores, alternating=False):
    """C++ statements; stores: [(nodes, format of their names)], each written as soon as its nodes are known.

    No store comes before the last load: they may be of the same place.
    """
    results = [node for nodes, _ in stores for node in nodes]
    order = depth_first(g, results)
    if alternating:
        order = alternately(g, order, results)
    loads = {node for node in order if g.nodes[node][0] == "load"}
    lines, done, waiting = [], {g.zero}, list(stores)

    def name(node):
        if node == g.zero:
            return "V{}"
        return f"-t{g.nodes[node][1]}" if g.nodes[node][0] == "neg" else f"t{node}"

    for node in order:
        op, *args = g.nodes[node]
        done.add(node)
        if op == "load":
            lines.append(f"const V t{node} = {args[0]};")
        elif op == "mul":
            lines.append(f"const V t{node} = {args[0]} * t{args[1]};")
        else:
            lines.append(f"const V t{node} = t{args[0]} {'+' if op == 'add' else '-'} t{args[1]};")
        for ready in [store for store in waiting if loads <= done and done.issuperset(base(g, n) for n in store[0])]:
            waiting.remove(ready)
            lines.append(ready[1].format(*map(name, ready[0])))
    return lines


def function(signature, lines, template=""):
    """A codelet; its constants also lie in a table, see `constant` in lanes/vector.hpp."""
    places = {}

    def constant(literal):
        return f"constant({literal[0]}, constants + {places.setdefault(literal[0], len(places))})"

    lines = [sub(r"Real\([^)]*\)", constant, line) for line in lines]
    if places:
        table = f"static constexpr Real kConstants[] = {{{', '.join(places)}}};"
        lines = [table, "const Real* const constants = hidden(kConstants);", *lines]
    return [f"  {template}CLINAUG_CODELET static void {signature} {{", *("    " + line for line in lines), "  }"]


def leaf(n):
    """Odd sizes multiply far more than they add: there a windowed sample is not multiplied for each of its sums."""
    g = Graph()
    sample = "unfused(Samples::at({}))" if n % 2 else "Samples::at({})"
    x = [(g.load(sample.format(f"x, offsets, weights, before, carried, {j}, {n}")), g.zero) for j in range(n)]
    g.n_inputs = len(g.nodes)
    stores = []
    for k, (re, im) in enumerate(dft(g, x)[: n // 2 + 1]):
        stores.append(((re,), f"out[{k}] = {{}};"))
        if 0 < 2 * k < n:
            stores.append(((im,), f"out[{n - k}] = {{}};"))
    source = "const Real* x, const int* offsets, const Real* weights, const int* before, const Real* carried"
    body = function(f"run({source}, V* out)", emit(g, stores), "template <class Samples> ")
    return [f"template <> struct Leaf<{n}> {{", *body, "};"]


def inner(r, final):
    """Bin k of r spectra: Re at lo[j * m], Im at hi[j * m]; gives the bins k + q m and (q + 1) m - k.

    The last pass alone gains by another order of its statements: those that store more wait for their stores.
    """
    g = Graph()
    z = []
    for j in range(r):
        re, im = g.load(f"lo[{j} * m]"), g.load(f"hi[{j} * m]")
        if j:
            c, t = f"splat(w + {2 * j - 2})", f"splat(w + {2 * j - 1})"
            re, im = g.mul(c, g.add(re, g.mul(t, im))), g.mul(c, g.sub(im, g.mul(t, re)))
        z.append((re, im))
    g.n_inputs = len(g.nodes)
    stores = []
    for q, (re, im) in enumerate(dft(g, z)):
        if final:
            stores.append(((re, im), power(f"lo[{q} * m]" if 2 * q < r else f"hi[{r - 1 - q} * m]")))
        elif 2 * q < r:
            stores += [((re,), f"lo[{q} * m] = {{}};"), ((im,), f"hi[{r - 1 - q} * m] = {{}};")]
        else:
            stores += [((re,), f"hi[{r - 1 - q} * m] = {{}};"), ((g.neg(im),), f"lo[{q} * m] = {{}};")]
    return emit(g, stores, alternating=final)


def edge(r, final, middle):
    """Bin 0 or m / 2 of r spectra, real values at lo[j * m]; gives the bins q m or q m + m / 2."""
    g = Graph()
    real = [(g.load(f"lo[{j} * m]"), g.zero) for j in range(r)]
    g.n_inputs = len(g.nodes)
    column = dft(g, [g.turn(z, j, 2 * r) for j, z in enumerate(real)] if middle else real)
    stores = []
    for q in range((r + 1) // 2 if middle else r // 2 + 1):
        re, im = column[q]
        mirrored = r - 1 - q if middle else r - q
        alone = mirrored == q or mirrored == r  # its own conjugate: real
        if final:
            stores.append((((re,) if alone else (re, im)), power(f"lo[{q} * m]", alone)))
        else:
            stores.append(((re,), f"lo[{q} * m] = {{}};"))
            if not alone:
                stores.append(((im,), f"lo[{mirrored} * m] = {{}};"))
    return emit(g, stores)


def coprime(r):
    """Bin k of r spectra, r even; results are in the order of their bins modulo r, `targets` tell where they belong.

    It adds far more than it multiplies: a fused multiply-add in place of each sum of turned values is none too many.
    """
    inner, zero = Graph(melting=True), Graph(melting=True)
    z = [(inner.load(f"lo[{j} * m]"), inner.load(f"hi[{j} * m]")) for j in range(r)]
    real = [(zero.load(f"lo[{j} * m]"), zero.zero) for j in range(r)]
    inner.n_inputs, zero.n_inputs = len(inner.nodes), len(zero.nodes)

    def stores(column, alone):
        return [
            ((re,) if q in alone else (re, im), power(f"out[targets[{q}]]", q in alone))
            for q, (re, im) in enumerate(column)
        ]

    return [
        f"template <> struct Coprime<{r}> {{",
        *function(
            "inner(const V* lo, const V* hi, Distance m, V* out, const int* targets)",
            emit(inner, stores(dft(inner, z), ())),
            "template <class Distance> ",
        ),
        *function(
            "zero(const V* lo, Index m, V* out, const int* targets)",
            emit(zero, stores(dft(zero, real)[: r // 2 + 1], (0, r // 2))),
        ),
        "};",
    ]


def power(target, real=False):
    return f"{target} = {{0}} * {{0}};" if real else f"{target} = {{0}} * {{0}} + {{1}} * {{1}};"


def combine(r):
    return [
        f"template <> struct Combine<{r}> {{",
        *function("zero(V* lo, Index m)", edge(r, False, False)),
        *function("inner(V* lo, V* hi, Distance m, const Real* w)", inner(r, False), "template <class Distance> "),
        *function("middle(V* lo, Index m)", edge(r, False, True)),
        "};",
    ]


def final(r):
    return [
        f"template <> struct Final<{r}> {{",
        *function("zero(V* lo, Index m)", edge(r, True, False)),
        *function("inner(V* lo, V* hi, Distance m, const Real* w)", inner(r, True), "template <class Distance> "),
        *function("middle(V* lo, Index m)", edge(r, True, True)),
        "};",
    ]


def transpose(lanes):
    """lanes vectors of `lanes` samples: pairs of rows, then pairs of pairs, then blocks of four.

    Floats stay so until they are stored, in either precision. Vectors from number `cut` on go `gap` further.
    """
    lines = [f"const auto r{i} = load_samples(columns[{i}] + row);" for i in range(lanes)]
    quads = range(0, lanes, 4)

    def shuffle(target, a, b, pick):
        lines.append(f"const auto {target} = __builtin_shufflevector({a}, {b}, {', '.join(map(str, pick))});")

    low = [i + q + j * lanes for i in quads for q in (0, 1) for j in (0, 1)]
    pair = [i + q + j * lanes for i in quads for j in (0, 1) for q in (0, 1)]
    for i in quads:
        for j, second in ((0, 1), (2, 3)):
            shuffle(f"a{i + j}", f"r{i + j}", f"r{i + second}", low)
            shuffle(f"a{i + second}", f"r{i + j}", f"r{i + second}", [p + 2 for p in low])
        shuffle(f"b{i}", f"a{i}", f"a{i + 2}", pair)
        shuffle(f"b{i + 1}", f"a{i}", f"a{i + 2}", [p + 2 for p in pair])
        shuffle(f"b{i + 2}", f"a{i + 1}", f"a{i + 3}", pair)
        shuffle(f"b{i + 3}", f"a{i + 1}", f"a{i + 3}", [p + 2 for p in pair])
    names = [f"b{i}" for i in range(lanes)]
    # b[4 i + q] holds, in its block of four j, the samples 4 j + q of the rows 4 i .. 4 i + 3: transpose the blocks.
    blocks = lanes // 4
    step = 1
    while step < blocks:
        fresh = list(names)
        keep = [(j if not j & step else j - step + blocks) for j in range(blocks)]
        for i in range(blocks):
            if i & step:
                continue
            for q in range(4):
                a, b = names[4 * i + q], names[4 * (i + step) + q]
                for target, move in ((i, 0), (i + step, step)):
                    fresh[4 * target + q] = f"c{step}_{4 * target + q}"
                    pick = [4 * (k + move) + e for k in keep for e in range(4)]
                    shuffle(fresh[4 * target + q], a, b, pick)
        names = fresh
        step *= 2
    lines += [f"store(out + {i} * stride + ({i} < cut ? 0 : gap), {name});" for i, name in enumerate(names)]
    parameters = "const Sample* const* columns, Index row, Real* out, Index stride, Index cut, Index gap"
    signature = f"static inline void transpose_block({parameters})"
    body = [f"template <class Sample> {signature} {{", *("  " + line for line in lines), "}"]
    return [f"#if CLINAUG_LANES == {lanes}", *body, "#endif"]


def listed(macro, sizes):
    return f"#define {macro}(X) {' '.join(f'X({n})' for n in sizes)}"


def known(macro, steps):
    return listed(macro, (f"{radix}, {points}" for radix, points in steps))


def operations(lines):
    """Vector operations of a codelet: what the plan compares."""
    return sum(" * " in line or " + t" in line or " - t" in line for line in lines)


def costs():
    """What a point of a spectrum costs in each step, in vector operations."""
    lines = ["// Generated by generate_codelets.py at build time.", "#pragma once", ""]
    lines += ["namespace clinaug::lanes {", "", "struct StepCost {", "  int size;", "  double per_point;", "};", ""]
    for name, sizes, per_point in (
        ("kLeafCosts", LEAVES, lambda n: operations(leaf(n)) / n),
        ("kRadixCosts", RADICES, lambda r: operations(inner(r, False)) / (2 * r)),
    ):
        entries = ", ".join(f"{{{n}, {per_point(n):.2f}}}" for n in sizes)
        lines.append(f"inline constexpr StepCost {name}[] = {{{entries}}};")
    lines.append(f"inline constexpr int kCoprime = {COPRIME};")
    lines.append(f"inline constexpr double kCoprimeCost = {operations(coprime(COPRIME)) / (3 * COPRIME):.2f};")
    return [*lines, "", "}  // namespace clinaug::lanes"]


def main():
    lines = ["// Generated by generate_codelets.py at build time; explained there.", "#pragma once", ""]
    lines += [listed("CLINAUG_LEAVES", LEAVES), listed("CLINAUG_RADICES", RADICES), ""]
    lines += [known("CLINAUG_KNOWN_COMBINES", KNOWN_COMBINES), known("CLINAUG_KNOWN_FINALS", KNOWN_FINALS)]
    lines += [known("CLINAUG_KNOWN_COPRIMES", KNOWN_COPRIMES), ""]
    lines += ["template <int n> struct Leaf;", "template <int r> struct Combine;", "template <int r> struct Final;"]
    lines += ["template <int r> struct Coprime;", "", *coprime(COPRIME)]
    for n in LEAVES:
        lines += ["", *leaf(n)]
    for r in RADICES:
        lines += ["", *combine(r), "", *final(r)]
    for lanes in LANES:
        lines += ["", *transpose(lanes)]
    folder = Path(sys.argv[1])
    (folder / "codelets.hpp").write_text("\n".join(lines) + "\n")
    (folder / "codelet_costs.hpp").write_text("\n".join(costs()) + "\n")


if __name__ == "__main__":
    main()
