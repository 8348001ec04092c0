"""How a simple command can be remembered: the words that say what it does, and what that rests on."""

from __future__ import annotations

from hermes_acp.policy.commands.arguments import Sorted
from hermes_acp.policy.commands.files import Files
from hermes_acp.policy.commands.places import HARMLESS_FILES
from hermes_acp.policy.commands.programs import Program
from hermes_acp.policy.commands.syntax import Call, Redirect
from hermes_acp.policy.commands.verdict import Rest
from hermes_acp.policy.commands.words import Word

_JOINS = frozenset({"", ">&", "<&", ">&-", "<&-"})


def loose(call: Call) -> bool:
    """Whether more than plain words takes part in a command: variables, files put in its way, loops.

    Descriptors that are joined, and what goes to or comes from `/dev/null`, change nothing.
    """
    return (
        call.nested
        or bool(call.assignments)
        or any(map(_leads_elsewhere, call.redirects))
        or any(map(_depends, call.words))
    )


def conclude(program: Program, found: Sorted, files: Files) -> None:
    """Note the meaning of a program that was judged; that of a command that it runs is noted already."""
    findings = files.findings
    inner, name = findings.meaning, tuple(program.name.split())
    operands = [word.text for word in found.operands]
    findings.known = bool(program.meaning)
    findings.meaning = ()
    _rest(program, found, files)
    if not program.meaning:
        return
    findings.own.update(program.does)
    if any(text.startswith("-") and len(text) > 1 for text in operands):
        findings.beyond = True
    match program.meaning:
        case "name":
            findings.meaning = name
        case "first":
            findings.meaning = (*name, *operands[:1])
        case "words":
            findings.meaning = (*name, *operands)
        case "command":
            findings.meaning = (*name, *inner) if inner else ()
        case "module":
            findings.meaning = (*name, "-m", *inner) if inner and found.has("-m") else ()


def rest_on_file(name: str, files: Files) -> None:
    """Note that the command does what a file of this name says."""
    files.findings.rests.extend(Rest("file", (name,), cwd) for cwd in files.cwds)


def _rest(program: Program, found: Sorted, files: Files) -> None:
    words = [word.text for word in (*found.operands, *found.rest)]
    match program.rests_on:
        case ():
            return
        case ("scripts",):
            script = words[0] if program.meaning == "first" and words else program.name.rpartition(" ")[2]
            rests = [Rest("scripts", (script,), cwd) for cwd in files.cwds]
        case ("makefile",):
            rests = [Rest("makefile", (), cwd) for cwd in files.cwds]
        case ("file",):
            rests = [Rest("file", (words[0],), cwd) for cwd in files.cwds if words and not found.has("-m")]
        case names:
            rests = [Rest("nearest", names, cwd) for cwd in files.cwds]
    files.findings.rests.extend(rests)


def _leads_elsewhere(redirect: Redirect) -> bool:
    if redirect.target is None:
        return redirect.operator not in _JOINS
    text = redirect.target.literal
    if redirect.operator in ("<<<", "<<") or text is None:
        return True
    return text not in HARMLESS_FILES and not (redirect.operator in _JOINS and text.rstrip("-").isdecimal())


def _depends(word: Word) -> bool:
    """Whether what the word stands for is not known from its text and the names of files."""
    return any(item.stream or item.variable or item.home for item in word.fields)
