"""What tests of whole lives share: how many they try, and the files with which each life begins."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

FILES = ("a.txt", "b.txt", "sub/c.txt")
MIDDLE = "".join(f"line {number}\n" for number in range(8))


def bounded(examples: int) -> settings:
    """So many examples, the same in each run; each takes too long to look for a smaller one."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
