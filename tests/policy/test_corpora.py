"""The figures on the corpora beside the project, which are read and never executed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.policy import gate
from hermes_acp.policy.commands.classify import Judgement, Place, classify
from hermes_acp.policy.effects import Effect

FOLDER = Path(__file__).parents[3] / "shared" / "corpora"
PLACE = Place("/nowhere/work", ("/nowhere/work",))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder shared/corpora is not beside the project"),
]


@dataclass
class Measured:
    """The verdicts on one file, by label."""

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    allowed: dict[str, list[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def share(self, label: str) -> float:
        """The part that runs unasked."""
        return self.verdicts[label]["allow"] / self.verdicts[label].total()


def rows(name: str) -> Iterator[tuple[str, str]]:
    for line in (FOLDER / f"dev_{name}.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield row["label"], row["text"]


@pytest.fixture(scope="module")
def corpora() -> dict[str, Measured]:
    judge("ls")
    found: dict[str, Measured] = {}
    for name in ("gtfobins", "atomic_linux", "tldr", "shell_bypass", "bash_syntax"):
        measured = found[name] = Measured()
        for label, text in rows(name):
            # Processor time, for other work on the machine is not ours.
            started = time.thread_time()
            judgement = judge(text)
            measured.seconds.append(time.thread_time() - started)
            measured.verdicts.setdefault(label, Counter())[judgement.decision] += 1
            if judgement.decision == "allow":
                measured.allowed.setdefault(label, []).append(text)
    return found


def judge(text: str) -> Judgement:
    return classify(text, PLACE)


def test_the_figures_are_printed(corpora: dict[str, Measured], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{'corpus':14}{'label':22}{'rows':>6}{'unasked':>9}{'asked':>7}{'refused':>9}")
        for name, measured in corpora.items():
            for label, verdicts in sorted(measured.verdicts.items()):
                counts = f"{verdicts.total():6}{verdicts['allow']:9}{verdicts['ask']:7}{verdicts['deny']:9}"
                print(f"{name:14}{label:22}{counts}{measured.share(label):8.1%}")
        seconds = sorted(second for measured in corpora.values() for second in measured.seconds)
        p50, p99 = (seconds[len(seconds) * part // 100] * 1e3 for part in (50, 99))
        print(f"processor time of one verdict: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def test_with_a_sandbox_the_commands_of_developers_run_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    counts: dict[str, Counter[str]] = {}
    for label, text in rows("tldr"):
        effect = Effect("execute", text, command=text, cwd=PLACE.cwd)
        verdict = gate.judge(effect, "auto", (), PLACE.roots)
        where = "sandbox" if verdict.confined else "outside"
        counts.setdefault(label, Counter())[where if verdict.decision == "allow" else "asked"] += 1
    with capsys.disabled():
        print(f"\n{'mode auto':36}{'rows':>6}{'outside':>9}{'sandbox':>9}{'asked':>7}")
        for label, found in sorted(counts.items()):
            row = f"{found.total():6}{found['outside']:9}{found['sandbox']:9}{found['asked']:7}"
            print(f"{'tldr':14}{label:22}{row}")
    for label in ("dev", "read_only"):
        assert counts[label]["asked"] <= counts[label].total() * 0.1
    # Outside runs what mode `ask` would run as well, and nothing else.
    assert counts["admin_or_destructive"]["outside"] <= counts["admin_or_destructive"].total() * 0.01


@pytest.mark.parametrize("label", ["exec", "net_exec", "write", "exfil", "download", "read"])
def test_no_program_that_can_do_more_than_it_seems_runs_unasked(
    corpora: dict[str, Measured], label: str
) -> None:
    assert corpora["gtfobins"].allowed.get(label, []) == []


def test_no_bypass_runs_unasked(corpora: dict[str, Measured]) -> None:
    assert corpora["shell_bypass"].allowed == {}


def test_attacks_run_unasked_only_where_they_merely_read(corpora: dict[str, Measured]) -> None:
    measured = corpora["atomic_linux"]
    assert measured.share("attack") <= 0.01
    for text in measured.allowed.get("attack", []):
        assert {effect.kind for effect in judge(text).effects} <= {"reads"}


def test_most_of_what_only_reads_runs_unasked(corpora: dict[str, Measured]) -> None:
    assert corpora["tldr"].share("read_only") >= 0.85


def test_what_administers_or_destroys_is_asked(corpora: dict[str, Measured]) -> None:
    assert corpora["tldr"].share("admin_or_destructive") <= 0.01
    for text in corpora["tldr"].allowed.get("admin_or_destructive", []):
        assert {effect.kind for effect in judge(text).effects} <= {"reads"}


@pytest.mark.parametrize("name", ["blns", "unicode", "benign_text", "injection"])
def test_no_text_of_any_kind_is_too_much(name: str) -> None:
    for line in (FOLDER / f"dev_{name}.jsonl").read_text("utf-8").splitlines()[:400]:
        text = json.loads(line).get("text")
        if isinstance(text, str):
            assert judge(text).decision in ("allow", "ask", "deny")
