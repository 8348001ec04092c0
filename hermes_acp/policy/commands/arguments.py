"""The words after a program's name, sorted into options with their values and all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hermes_acp.policy.commands.programs import Option, Program
from hermes_acp.records import record

_NUMBER = re.compile(r"-[0-9]+")


@record
class Given:
    """A word as the program gets it.

    `variable`: holds something that is not known, which may be several words (`split`); `home`: begins
    with the user's home folder; `stream`: the output of a command, as the name of a file; `any_file`: the
    name of some file of the workspace.
    """

    text: str
    variable: bool = False
    split: bool = False
    home: bool = False
    stream: bool = False
    any_file: bool = False

    def with_text(self, text: str) -> Given:
        """The same for a part of the word."""
        return Given(text, self.variable, self.split)


@dataclass(slots=True)
class Sorted:
    """What was found; `rest` begins where a group or another command begins.

    `late` are values of options behind other words: where programs want options first, these are files.
    """

    options: list[tuple[str, Option, Given | None]] = field(
        default_factory=list[tuple[str, Option, Given | None]]
    )
    operands: list[Given] = field(default_factory=list[Given])
    rest: Sequence[Given] = ()
    late: list[Given] = field(default_factory=list[Given])
    problems: list[str] = field(default_factory=list[str])

    def has(self, *names: str) -> bool:
        """Whether one of the options was given."""
        return any(name in names for name, _, _ in self.options)

    def values(self, *names: str) -> list[Given]:
        """The values of these options, of all without names."""
        return [
            value for name, _, value in self.options if value is not None and (name in names or not names)
        ]


def sort(program: Program, given: Sequence[Given]) -> Sorted:
    """Read the words as the program will; what is not in the table becomes a problem."""
    found = Sorted()
    before_command = len(program.words.head) if program.words.others == "command" else None
    stops = 0 if program.group else before_command
    index, ended = 0, program.no_options
    while index < len(given):
        word = given[index]
        if not ended and word.text == "--" and not word.variable and not program.long_options:
            ended = True
        elif not ended and word.text.startswith("-") and len(word.text) > 1 and not word.home:
            index += _option(program, given, index, found)
        elif len(found.operands) == stops:
            found.rest = given[index:]
            break
        else:
            found.operands.append(word)
            ended = ended or program.options_first
            # Some programs read old bundles such as `tf`, but only as the first word.
            if program.bundle and index == 0 and not word.variable:
                found.operands.pop()
                bundled = [word.with_text("-" + word.text), *given[1:]]
                index += _option(program, bundled, 0, found)
        index += 1
    return found


def _option(program: Program, given: Sequence[Given], index: int, found: Sorted) -> int:
    """Read one option; gives how many words after it are its value."""
    word = given[index]
    if word.variable:
        found.problems.append(f"`{program.name}` gets an option that holds a variable")
        return 0
    name, equals, value = word.text.partition("=")
    if known := program.options.get(name):
        if equals:
            return _attached(program, name, known, word.with_text(value), found)
        return _value(program, (name, known), given, index, found)
    if word.text.startswith("--") or program.long_options:
        found.problems.append(f"the option `{name}` of `{program.name}` is not known to be harmless")
        return 0
    if "-#" in program.options and _NUMBER.fullmatch(word.text):
        found.options.append(("-#", program.options["-#"], None))
        return 0
    return _cluster(program, given, index, found)


def _attached(program: Program, name: str, known: Option, value: Given, found: Sorted) -> int:
    if known.value is None or known.second is not None:
        found.problems.append(f"the option `{name}` of `{program.name}` takes no value like that")
    found.options.append((name, known, value))
    return 0


def _value(
    program: Program, option: tuple[str, Option], given: Sequence[Given], index: int, found: Sorted
) -> int:
    name, known = option
    if known.value is None or known.attached or index + 1 >= len(given):
        found.options.append((name, known, None))
        return 0
    value = given[index + 1]
    if value.text.startswith("-") and len(value.text) > 1 and not _NUMBER.fullmatch(value.text):
        # Should the table be wrong about the value, this would be an option.
        found.problems.append(f"what follows `{name}` may be an option")
    found.options.append((name, known, value))
    if found.operands and not program.long_options:
        found.late.append(value)
    if known.second is None or index + 2 >= len(given):
        return 1
    found.options.append((name, Option(known.second, does=known.does), given[index + 2]))
    return 2


def _cluster(program: Program, given: Sequence[Given], index: int, found: Sorted) -> int:
    """Single letters in one word, the last of which may have a value."""
    word = given[index]
    for at, letter in enumerate(word.text[1:], start=1):
        name, following = f"-{letter}", word.text[at + 1 :]
        known = program.options.get(name)
        if known is None:
            found.problems.append(f"the option `{name}` of `{program.name}` is not known to be harmless")
            return 0
        if known.value is None:
            found.options.append((name, known, None))
        elif following:
            found.options.append((name, known, word.with_text(following)))
            return 0
        else:
            return _value(program, (name, known), given, index, found)
    return 0
