"""The figures of the scanner and of redaction on the corpora beside the project."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.policy import injection, secrets

FOLDER = Path(__file__).parents[3] / "shared" / "corpora"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder shared/corpora is not beside the project"),
]


@dataclass
class Measured:
    """How many rows of each label there are, and how many of them were marked or altered."""

    rows: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def share(self, *labels: str) -> float:
        """The part of the rows with these labels (all, without one) that was marked or altered."""
        labels = labels or tuple(self.rows)
        return sum(self.hit[label] for label in labels) / sum(self.rows[label] for label in labels)


def rows(name: str) -> Iterator[tuple[str, str]]:
    for line in (FOLDER / f"dev_{name}.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        text = base64.b64decode(row["b64"]).decode("utf-8", "replace") if "b64" in row else row["text"]
        yield row.get("family") or row["label"], text


def measure(name: str, marks: Callable[[str], bool]) -> Measured:
    marks("")
    measured = Measured()
    for label, text in rows(name):
        # Processor time, for other work on the machine is not ours.
        started = time.thread_time()
        marked = marks(text)
        measured.seconds.append(time.thread_time() - started)
        measured.rows[label] += 1
        measured.hit[label] += marked
    return measured


def suspicious(text: str) -> bool:
    return bool(injection.scan(text))


def altered(text: str) -> bool:
    return secrets.redact(text) != text


@pytest.fixture(scope="module")
def scanned() -> dict[str, Measured]:
    return {
        name: measure(name, suspicious) for name in ("injection", "unicode", "benign_text", "tldr", "blns")
    }


@pytest.fixture(scope="module")
def redacted() -> dict[str, Measured]:
    return {name: measure(name, altered) for name in ("secrets", "benign_text", "tldr", "blns")}


def test_the_figures_are_printed(
    scanned: dict[str, Measured], redacted: dict[str, Measured], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        for title, corpora in (("scan", scanned), ("redact", redacted)):
            print(f"\n{title:14}{'rows of':40}{'number':>7}{'found':>7}")
            for name, measured in corpora.items():
                for label in sorted(measured.rows):
                    counts = f"{measured.rows[label]:7}{measured.hit[label]:7}"
                    print(f"{name:14}{label:40}{counts}{measured.share(label):8.1%}")
            seconds = sorted(second for measured in corpora.values() for second in measured.seconds)
            p50, p99 = (seconds[len(seconds) * part // 100] * 1e3 for part in (50, 99))
            print(f"processor time of one text: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


@pytest.mark.parametrize(
    "attack",
    ["IgnorePreviousAttack", "SystemMessageAttack", "InjecAgentAttack", "ImportantInstructionsAttack"],
)
def test_injections_with_markers_are_found(scanned: dict[str, Measured], attack: str) -> None:
    assert scanned["injection"].share(f"agentdojo:{attack}") >= 0.9


def test_requests_for_the_prompt_images_that_leak_and_escapes_are_found(scanned: dict[str, Measured]) -> None:
    measured = scanned["injection"]
    assert measured.share("garak:sysprompt") >= 0.9
    assert measured.share("garak:web", "garak:ansi") == 1


def test_what_is_smuggled_is_found_and_what_people_write_is_not(scanned: dict[str, Measured]) -> None:
    measured = scanned["unicode"]
    assert (measured.share("smuggling"), measured.share("benign_unicode")) == (1, 0)


def test_ordinary_texts_and_commands_are_not_suspected(scanned: dict[str, Measured]) -> None:
    assert scanned["benign_text"].share() <= 0.001
    assert scanned["tldr"].share() <= 0.001


def test_secrets_are_taken_out_and_what_only_looks_like_them_stays(redacted: dict[str, Measured]) -> None:
    assert redacted["secrets"].share("secret") >= 0.9
    assert redacted["secrets"].share("not_secret") <= 0.1


def test_ordinary_lines_stay_as_they_are(redacted: dict[str, Measured]) -> None:
    assert redacted["benign_text"].share() <= 0.0005
    assert redacted["tldr"].share() <= 0.0005


def test_whatever_was_redacted_is_redacted_once() -> None:
    once = [secrets.redact(text) for _, text in rows("secrets")]
    assert [secrets.redact(text) for text in once] == once


@pytest.mark.parametrize("name", ["secrets", "injection", "blns"])
def test_all_but_the_secrets_stays_to_the_character(name: str) -> None:
    for _, text in rows(name):
        kept = text
        for span in reversed(secrets.find(text)):
            kept = kept[: span.start] + secrets.MARK.format(span.kind) + kept[span.end :]
        assert secrets.redact(text) == kept
