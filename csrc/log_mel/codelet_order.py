"""The order of a codelet's statements, for generate_codelets.py.

Takes a Graph and the nodes that are asked for; gives the nodes to compute, each after its operands.
"""

PATTERN = ("product", "product", "sum", "sum")
AHEAD = 64  # statements, of which one may come sooner


def base(g, node):
    """Without its sign, which costs nothing."""
    return g.nodes[node][1] if g.nodes[node][0] == "neg" else node


def operands(g, node):
    return [base(g, a) for a in g.nodes[node][1:] if isinstance(a, int)]


def depth_first(g, results):
    """Operands first, and inputs where they are first needed: few values wait."""
    live, pending = set(), [base(g, node) for node in results]
    while pending:
        node = pending.pop()
        if node not in live:
            live.add(node)
            pending += operands(g, node)
    order, seen = [], {g.zero}

    def visit(node):
        if node not in seen:
            seen.add(node)
            for operand in operands(g, node):
                visit(operand)
            order.append(node)

    for node in sorted(live, key=lambda node: (node < g.n_inputs, node)):
        visit(node)
    return order


def alternately(g, order, results):
    """Two products, two sums, and so on, of each the next that can be computed.

    AMD's processors hand operations to two groups of units by turns, each group with a multiplier and an adder: on a
    Zen 4, vectors of 512 bits take 0.50 cycles each where two products and two sums come by turns, 0.61 where one and
    one do, and in a long run of either half of the units wait.
    """
    kinds = kinds_of(g, order, results)
    rest = [node for node in order if node in kinds]
    known = set(order) - set(rest)
    done, turn = [], 0
    while rest:
        ready = (node for node in rest[:AHEAD] if can_be_computed(g, node, kinds, known))
        node = next((node for node in ready if kinds[node] in ("load", PATTERN[turn % len(PATTERN)])), rest[0])
        rest.remove(node)
        known.add(node)
        done += [a for a in fused_into(g, node, kinds) if a not in done]
        done.append(node)
        turn += kinds[node] != "load"
    return done


def can_be_computed(g, node, kinds, known):
    return all(known.issuperset(operands(g, a)) for a in (node, *fused_into(g, node, kinds)))


def fused_into(g, node, kinds):
    return [a for a in operands(g, node) if a not in kinds]


def kinds_of(g, order, results):
    """load, product or sum; a product that the compiler fuses into all its sums is none, and these are products."""
    uses = {node: [] for node in order}
    for node in order:
        for operand in operands(g, node):
            uses[operand].append(node)
    results = {base(g, node) for node in results}
    kinds, fused = {}, set()
    for node in order:
        op = g.nodes[node][0]
        free = (use not in fused and g.nodes[use][0] != "mul" for use in uses[node])
        if op == "mul" and node not in results and all(free):
            fused.update(uses[node])
        else:
            kinds[node] = "load" if op == "load" else "product" if op == "mul" or node in fused else "sum"
    return kinds
