"""`hermes-editor policy explain`: what would happen with a command, part by part, and which rule says so."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable, Sequence

from hermes_acp import config
from hermes_acp.cli.command import Subparsers
from hermes_acp.cli.policy.places import Places
from hermes_acp.policy.commands.classify import Consequence, Judgement, Part, Place, classify
from hermes_acp.policy.effects import Effect, Mode
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules.commands import part_rules
from hermes_acp.policy.rules.match import Subject
from hermes_acp.policy.rules.rules import Rule, Verdict, choices, code
from hermes_acp.records import record

MODES: tuple[Mode, ...] = ("ask", "plan", "accept_edits", "auto", "full")


@record
class _Explained:
    """The verdict on a command in a mode; `rules` are those that allow its parts, None for most."""

    command: str
    cwd: str
    mode: Mode
    verdict: Verdict
    judgement: Judgement
    rules: tuple[Rule | None, ...]


def register(actions: Subparsers) -> argparse.ArgumentParser:
    """Add the action to those of `policy`; gives its parser."""
    parser = actions.add_parser("explain", help="what would happen with a command, and why")
    parser.add_argument("command", metavar="COMMAND", help="the whole command as one argument")
    parser.add_argument("--mode", choices=MODES, default=None, help="the mode (default: the configured one)")
    return parser


async def run(places: Places, cwd: str, args: argparse.Namespace) -> int:
    """Explain a command. Raises `config.ConfigError`."""
    mode = args.mode or config.settings(places.env, places.paths.config_file).mode
    rules = await places.rules(cwd)
    held = await asyncio.to_thread(places.mode, mode, cwd)
    explained = await asyncio.to_thread(_explained, args.command, cwd, held, rules)
    print(json.dumps(_fields(explained), indent=2) if args.json else _text(explained))
    return 0


def effects_fields(effects: Iterable[Consequence]) -> list[dict[str, object]]:
    """Effects for JSON."""
    return [{"kind": effect.kind, "targets": list(effect.targets)} for effect in effects]


def _explained(command: str, cwd: str, mode: Mode, rules: Sequence[Rule]) -> _Explained:
    effect = Effect("execute", command, command=command, cwd=cwd)
    place = Place(cwd, (cwd,))
    judgement = classify(command, place)
    by = part_rules(rules, Subject(effect, place, judgement))
    return _Explained(command, cwd, mode, judge(effect, mode, rules, (cwd,)), judgement, by)


def _fields(explained: _Explained) -> dict[str, object]:
    verdict, judgement = explained.verdict, explained.judgement
    return {
        "command": explained.command,
        "cwd": explained.cwd,
        "mode": explained.mode,
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "effects": effects_fields(judgement.effects),
        "parts": [
            {
                "command": part.text,
                "verdict": part.decision,
                "reason": part.reason,
                "effects": effects_fields(part.effects),
                "rule": rule.rule_id if rule else None,
            }
            for part, rule in zip(judgement.parts, explained.rules, strict=True)
        ],
        "choices": _offered(verdict),
    }


def _text(explained: _Explained) -> str:
    lines = [f"{explained.verdict.decision} (mode {explained.mode}): {explained.verdict.reason}"]
    for part, rule in zip(explained.judgement.parts, explained.rules, strict=True):
        lines.append(_line(part, rule))
        lines.extend(
            f"    {effect.kind} {', '.join(map(code, effect.targets))}".rstrip() for effect in part.effects
        )
    lines.extend(f"  [{name}]" for name in _offered(explained.verdict))
    return "\n".join(lines)


def _line(part: Part, rule: Rule | None) -> str:
    by = f"; the rule {rule.rule_id} allows it" if rule else ""
    why = f"; {part.reason}" if part.reason else ""
    return f"  {code(part.text)}: {part.decision}{why}{by}"


def _offered(verdict: Verdict) -> list[str]:
    return [choice.name for choice in choices(verdict)] if verdict.decision == "ask" else []
