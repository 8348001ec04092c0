"""What a project may bring along: only what the user was shown in this very place, and said yes to.

Text and settings of a project are its authors' word, not the user's. Whatever acts by itself (instructions
for the model, servers, skills, hooks, checks) asks `enabled` first. Pure decisions over plain data.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, TypeAlias

from hermes_acp.records import record

VERSIONS = 16
"""Contents of one feature that stay accepted, so that switching branches asks for nothing."""

FEATURES_BOUND = 1_000
"""Features of one place that are remembered; the oldest are forgotten, and asked for again."""

Kind: TypeAlias = Literal["instructions", "servers", "skills", "hooks", "checks"]
Reason: TypeAlias = Literal["", "unknown", "changed", "replaced"]


@record
class Feature:
    """Something of a project that would act; `name` is its path relative to the project, or its own name.

    `digest` is another one for every other content.
    """

    kind: Kind
    name: str
    digest: str


@record
class Trust:
    """The user's answer about a place, which is a real path that all worktrees of a repository share.

    `identity` is the id of the project that was there, `features` what the user was shown, the newest
    first. `never` also ends the questions. `decided_at` is seconds since the epoch, `client` the window.
    """

    place: str
    identity: str
    answer: Literal["trusted", "never"]
    features: tuple[Feature, ...]
    decided_at: float
    client: str


@record
class Standing:
    """How the features of a place stand: which are enabled, which to ask about, and why.

    `unknown`: the user was never asked. `changed`: they trust the place, but were not shown these.
    `replaced`: another project is in the place now.
    """

    enabled: frozenset[Feature]
    asks: tuple[Feature, ...] = ()
    reason: Reason = ""


def digest(text: str) -> str:
    """What identifies a content."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def enabled(trust: Trust | None, identity: str, feature: Feature) -> bool:
    """Whether a feature may act. Without an answer, for another project or another content: no."""
    if trust is None or trust.answer != "trusted" or trust.identity != identity:
        return False
    return feature in trust.features


def standing(trust: Trust | None, identity: str, features: Iterable[Feature]) -> Standing:
    """How the features of a place stand under an answer, None when there was none."""
    found = tuple(features)
    allowed = frozenset(feature for feature in found if enabled(trust, identity, feature))
    asks = tuple(feature for feature in found if feature not in allowed)
    if not asks or (trust is not None and trust.answer == "never"):
        return Standing(allowed)
    if trust is None:
        return Standing(allowed, asks, "unknown")
    return Standing(allowed, asks, "changed" if trust.identity == identity else "replaced")


def granted(known: Trust | None, place: str, identity: str, shown: Iterable[Feature], client: str) -> Trust:
    """The answer "yes" to what was shown; what was accepted in this project before stays so."""
    before = known.features if known is not None and known.identity == identity else ()
    merged = tuple(dict.fromkeys((*shown, *before)))
    return Trust(place, identity, "trusted", _newest(merged), time.time(), client)


def refused(place: str, identity: str, client: str) -> Trust:
    """The answer "never"."""
    return Trust(place, identity, "never", (), time.time(), client)


def rewritten(trust: Trust, before: Feature | None, after: Feature) -> Trust | None:
    """The answer after an edit that the user allowed; None when nothing follows from it.

    An allowed edit of a text that was never trusted makes it none.
    """
    if before is not None and before not in trust.features:
        return None
    if trust.answer != "trusted" or after in trust.features:
        return None
    return replace(trust, features=_newest((after, *trust.features)))


def _newest(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    versions: dict[tuple[Kind, str], int] = {}
    kept: list[Feature] = []
    for feature in features:
        key = (feature.kind, feature.name)
        versions[key] = versions.get(key, 0) + 1
        if versions[key] <= VERSIONS:
            kept.append(feature)
    return tuple(kept[:FEATURES_BOUND])
