#!/usr/bin/env python3
"""Prints what numpy draws, as the constants of crates/tasks/src/numpy/tests.rs."""
import numpy

SEEDS = [0, 1, 999, 2**63]
BOUNDS = [1, 2, 3_000_000_000, 2**32, 2**32 + 1, 2**63 - 1, 6 * 10**18]


def drawn(seed):
    def new():
        return numpy.random.default_rng(seed)

    def listed(values):
        return [value.item() for value in values]

    def words(values):
        return "[" + ", ".join(f"0x{value:016X}" for value in values) + "]"

    many = new()
    integers = listed(many.integers(0, 7, size=9)), many.random(), listed(many.integers(0, 5, size=4))
    bounded = new()
    normals = new().standard_normal(100_000)
    redrawn = new()
    return f"""    Recorded {{
        seed: {seed},
        bits: {words(new().bit_generator.random_raw(3))},
        random: {listed(new().random(3))},
        uniform: {listed(new().uniform(0.1, 1.0, 3))},
        integers: {integers},
        bounded: {[bounded.integers(0, bound).item() for bound in BOUNDS]},
        permutation: {listed(new().permutation(10))},
        normal: ({listed(normals[:3])}, 0x{numpy.bitwise_xor.reduce(normals.view(numpy.uint64)):016X}),
        redrawn: ({redrawn.integers(0, 3_000_000_000, size=100_000).sum()}, {redrawn.random()}),
    }},"""


print(f"// numpy {numpy.__version__}")
print(f"static RECORDED: [Recorded; {len(SEEDS)}] = [")
print("\n".join(drawn(seed) for seed in SEEDS))
print("];")
