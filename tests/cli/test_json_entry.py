"""Merging one entry into JSON files as people have them."""

from __future__ import annotations

import json

import pytest

from hermes_acp.cli.json_entry import NotMergeable, merged

ENTRY = {"command": "/opt/agent", "args": ["acp"], "env": {}}


def add(text: str) -> str:
    return merged(text, "agents", "Us", dict(ENTRY))


def test_an_empty_file_becomes_the_entry_alone() -> None:
    assert json.loads(add(" \n")) == {"agents": {"Us": ENTRY}}


BEFORE = """\
{
    "b":  [1,2 , 1e3],
    "agents": {
        "Other": {"x": 1.0}
    },
    "\u00e4": "\\u00e4"
}
"""
AFTER = """\
{
    "b":  [1,2 , 1e3],
    "agents": {
        "Other": {"x": 1.0},
        "Us": {
            "command": "/opt/agent",
            "args": [
                "acp"
            ],
            "env": {}
        }
    },
    "\u00e4": "\\u00e4"
}
"""


def test_everything_around_the_entry_keeps_its_characters() -> None:
    assert add(BEFORE) == AFTER


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{ }\n",
        '{"a": 1}',
        '{\n\t"a": {"agents": {}}\n}',
        '{"agents": {}}',
        '{"agents":\n{\n}}',
        '{"agents": {"Other": {"Us": 1}}, "z": "}"}',
        '{"agents": {"Us": "old"}}',
        '{"a": "\\"agents\\": {", "agents": {"Us": {"command": "/old"}}}',
        '{\r\n  "agents": {\r\n    "Other": {}\r\n  }\r\n}\r\n',
    ],
)
def test_a_merge_sets_the_entry_and_nothing_else_and_the_second_changes_nothing(text: str) -> None:
    before = json.loads(text)
    after = add(text)
    assert json.loads(after) == {**before, "agents": {**before.get("agents", {}), "Us": ENTRY}}
    assert add(after) == after


def test_windows_line_ends_stay() -> None:
    after = add('{\r\n  "a": 1\r\n}\r\n')
    assert "\n" not in after.replace("\r\n", "")


def test_what_the_user_added_to_the_entry_stays() -> None:
    text = json.dumps({"agents": {"Us": {"command": "/old", "env": {"KEY": "x"}, "default_mode": "plan"}}})
    wanted = {"command": "/opt/agent", "args": ["acp"], "env": {"KEY": "x"}, "default_mode": "plan"}
    assert json.loads(add(text)) == {"agents": {"Us": wanted}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('// mine\n{"a": 1}', "comments"),
        ('{"a": 1,}', "comments or is not valid JSON"),
        ("[]", "holds no object"),
        ('{"agents": null}', "'agents' is no object"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"agents": {}, "a": ' + "[" * 100_000, "JSON|nested"),
        ("\ufeff{}", "JSON"),
    ],
)
def test_a_file_that_could_be_harmed_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotMergeable, match=reason):
        add(text)
