"""What one simple command does, by the table of programs and the files that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hermes_acp.policy.commands import git, meaning, places, scripts
from hermes_acp.policy.commands.arguments import Given, Sorted, sort
from hermes_acp.policy.commands.files import Files, Findings
from hermes_acp.policy.commands.find import RUNS, lists_files, plain_files
from hermes_acp.policy.commands.programs import Argument, Program, Table
from hermes_acp.policy.commands.syntax import Call, Condition, Redirect
from hermes_acp.policy.commands.verdict import Kind, Rest
from hermes_acp.policy.paths import secret
from hermes_acp.policy.rules.rules import code

WRAPPERS = 8
"""Programs that may run each other in one command, such as `timeout 5 nice ls`."""

_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*|\[|:|\.", re.ASCII)
_WRITING = frozenset({">", ">>", ">|", "&>", "&>>", ">&", "<>"})
_DESCRIPTOR = re.compile(r"[0-9]{1,3}-?|-")
_TEST_OPERATORS = frozenset({"=", "==", "!=", "-n", "-z", "-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_WORD = re.compile(r"[A-Za-z0-9_.-]*")
_SWITCH = re.compile(r"-[A-Za-z]+")
_URL_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^@/\s]*@)?(\[[0-9a-f:]+\]|[^:/?#\s]+)", re.IGNORECASE)
_SCRIPT = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]*", re.ASCII)
_NAMES_FILES = frozenset({"path", "entry", "rev", "out"})
_FILE_TESTS = frozenset("-" + letter for letter in "bcdefghkprsuwxGLNOS")


@dataclass(slots=True)
class Judge:
    """Judges the commands of one text, one after the other.

    `lists` is the depth of the command before, when that prints nothing but names of plain files of the
    workspace, each ended by a NUL.
    """

    table: Table
    files: Files
    lists: int | None = None

    @property
    def findings(self) -> Findings:
        """What was found about the command that is being judged."""
        return self.files.findings

    def call(self, call: Call) -> Findings:
        """What a simple command does."""
        findings = self.files.findings = Findings(loose=meaning.loose(call))
        for name, word in call.assignments:
            self._assignment(name, word.literal)
        for redirect in call.redirects:
            self._redirect(redirect)
        given = any(redirect.gives_input for redirect in call.redirects)
        lists = call.join == "|" and self.lists == call.depth and not given
        self.lists = None
        if call.words and self._named(call, lists=lists):
            self.lists = call.depth
        return findings

    def condition(self, condition: Condition) -> Findings:
        """What a condition in brackets looks at."""
        findings = self.files.findings = Findings()
        words = [
            (operator, given) for operator, word in condition.words for given in self.files.expanded(word)
        ]
        if not condition.text.startswith("[["):
            self._operators([given for operator, given in words if not operator])
        for operator, given in words:
            self._condition_word(operator, given)
        return findings

    # --- words -----------------------------------------------------------------------------------

    def _named(self, call: Call, *, lists: bool) -> bool:
        """Judge a command with words; whether it lists files as `lists` says."""
        name = call.words[0]
        if name.literal is None or name.source != name.literal or not _PROGRAM.fullmatch(name.literal):
            self.findings.does("executes", name.source)
            self.findings.problem(f"{code(name.source)} is not the plain name of a program")
            self.findings.runs.append(tuple(word.literal or word.source for word in call.words))
            meaning.rest_on_file(name.literal or "", self.files)
            return False
        words = [given for word in call.words[1:] for given in self.files.expanded(word)]
        if name.literal == "cd" and call.nested:
            self.findings.problem("it changes the folder in a loop, a condition or a substitution")
        self._run([Given(name.literal), *words], depth=0, lists=lists)
        program = self.table.programs.get(name.literal)
        return program is not None and program.check == "find" and lists_files(words)

    # --- programs --------------------------------------------------------------------------------

    def _run(self, words: Sequence[Given], depth: int, *, lists: bool = False) -> None:
        """A program with its words; a wrapper leads here again."""
        name = words[0].text
        program = self.table.programs.get(name)
        self.findings.runs.append(tuple(word.text for word in words))
        if words[0].variable or not _PROGRAM.fullmatch(name) or depth > WRAPPERS:
            self.findings.does("executes", name)
            self.findings.problem(f"{code(name)} is not the plain name of a program")
            return
        if len(words) == 2 and words[1].text in self.table.questions.get(name, ()):
            self._unless(program)
        elif program is None:
            self.findings.does("executes", name)
            self.findings.problem(f"{code(name)} is not known as a program that only reads")
        else:
            self._program(program, words[1:], depth, lists=lists)

    def _program(self, program: Program, words: Sequence[Given], depth: int, *, lists: bool) -> None:
        if program.check == "find":
            words = self._find(words, depth)
        found = sort(program, words)
        for problem in found.problems:
            self.findings.problem(problem)
        self._unless(program)
        self._options(program, found)
        for value in found.late:
            self.files.look(value, contents=True)
        if program.group and found.rest:
            self._sub(program, found, depth)
            return
        for kind in program.does:
            self.findings.does(kind)
        own = bool(program.meaning)
        if program.does and program.because:
            self.findings.problem(f"{code(program.name)} {program.because}", own=own)
        if program.needs and not found.has(*program.needs):
            why = program.because or "may do more"
            self.findings.problem(f"{code(program.name)} without {code(program.needs[0])} {why}", own=own)
        self._operands(program, found)
        self._check(program, found, depth, lists=lists)
        meaning.conclude(program, found, self.files)

    def _sub(self, program: Program, found: Sorted, depth: int) -> None:
        word = found.rest[0]
        sub = self._named_sub(program, word.text)
        self.findings.loose = self.findings.loose or bool(found.problems) or bool(found.values())
        if not found.problems:
            self.findings.runs[-1] = (*program.name.split(), *(item.text for item in found.rest))
        if program.name == "git":
            self._git(found)
        if word.variable or sub is None:
            for kind in program.does or ("executes",):
                self.findings.does(kind)
            self.findings.problem(
                f"{code(f'{program.name} {word.text}')} is not known as a command that only reads"
            )
            return
        if program.name.startswith("git") and any(item.text == "--help" for item in found.rest):
            self.findings.does("executes")
            self.findings.problem("the help of git is shown by another program")
        before = self.files.cwds
        if program.name == "git" and (folders := found.values("-C")):
            self.files.cwds = tuple(places.folder(cwd, folders[-1].text) for cwd in before)
        self._program(sub, found.rest[1:], depth, lists=False)
        self.files.cwds = before

    def _named_sub(self, program: Program, name: str) -> Program | None:
        """What a sub-command is; `*` in the table is what all others are."""
        if sub := self.table.programs.get(f"{program.entry} {name}"):
            return sub
        other = self.table.programs.get(f"{program.entry} *")
        return replace(other, name=f"{program.name} {name}") if other and _SCRIPT.fullmatch(name) else None

    def _git(self, found: Sorted) -> None:
        if len(found.values("-C")) > 1:
            self.findings.problem("git goes to several folders")
        for cwd in self.files.cwds:
            for folder in found.values("-C") or [Given(cwd)]:
                at = places.folder(cwd, folder.text)
                self.findings.problem(git.trap(at, self.files.place.roots))

    def _unless(self, program: Program | None) -> None:
        """Files that decide what a program really is."""
        for cwd in self.files.cwds if program is not None and program.unless else ():
            if name := places.holds(cwd, program.unless, self.files.place.roots) if program else "":
                own = bool(program and program.does)
                self.findings.problem(f"{code(name)} may make it run something else", own=own)
                self.findings.rests.append(Rest("nearest", (name,), cwd))

    def _options(self, program: Program, found: Sorted) -> None:
        for name, option, value in found.options:
            if option.does is not None:
                target = value.text if value is not None and option.value == "out" else ""
                self.findings.does(option.does, target)
                self.findings.beyond = True
                if not target:
                    self.findings.problem(f"{code(f'{program.name} {name}')} {_EFFECTS[option.does]}")
            elif value is not None:
                self._argument(program, option.value or "text", value)

    def _operands(self, program: Program, found: Sorted) -> None:
        words = program.words
        if program.instead and found.has(*program.instead):
            words = type(words)(words.head[1:], words.others, words.tail)
        operands = found.operands
        if program.check == "find":
            operands = [item for item in operands if item.text not in ("(", ")", "!", ",")]
        kinds = words.kinds(len(operands)) if words.others != "command" else words.head[: len(operands)]
        if kinds is None:
            self.findings.problem(f"{code(program.name)} gets more words than it needs for reading")
            kinds = ("text",) * len(operands)
        for kind, word in zip(kinds, operands, strict=True):
            if (program.only and not program.only.fullmatch(word.text)) or (
                program.never and program.never.search(word.text)
            ):
                self.findings.problem(f"{code(f'{program.name} {word.text}')} is not known to be harmless")
            self._argument(program, kind, word)
        if words.head == ("text",) and "path" not in kinds and found.has("-r", "--recursive"):
            self._argument(program, "path", Given("."))

    def _argument(self, program: Program, kind: Argument, word: Given) -> None:
        if word.variable and program.check not in ("echo", "printf", "test"):
            self.findings.problem(f"{code(program.name)} gets a word that holds a variable")
        if program.meaning and kind in _NAMES_FILES:
            self.files.guard(word)
        match kind:
            case "text" | "command" | "word":
                if word.stream or (word.any_file and program.check != "echo"):
                    self.findings.problem("the output or name of something stands for a word")
                if kind == "word" and not _WORD.fullmatch(word.text):
                    self.findings.problem(f"{code(word.text)} is no plain word")
            case "path" | "entry":
                self.files.look(word, contents=kind == "path")
            case "rev":
                self.files.look(word, contents=False)
                if secret(word.text.rpartition(":")[2]):
                    self.findings.problem(f"{code(word.text)} may hold secrets")
            case "glob":
                if secret(word.text.strip("*?!")):
                    self.findings.problem(f"{code(word.text)} may hold secrets")
            case "out":
                self.files.writes(word, "deletes" if "deletes" in program.does else "writes")
            case "host":
                self.findings.does("network", _host(word.text))
            case "program":
                self.findings.does("executes", word.text)

    # --- around the words ------------------------------------------------------------------------

    def _assignment(self, name: str, value: str | None) -> None:
        allowed = self.table.variables.get(name)
        if allowed is None or value is None or not allowed.fullmatch(value):
            self.findings.problem(f"the variable {code(name)} may change what a program does")

    def _redirect(self, redirect: Redirect) -> None:
        if redirect.target is None:
            return
        for word in self.files.expanded(redirect.target):
            if redirect.operator in (">&", "<&") and _DESCRIPTOR.fullmatch(word.text):
                continue
            if word.variable and redirect.operator != "<<<":
                self.findings.problem("a redirection leads to a name that is not known")
            if redirect.operator in _WRITING:
                self.files.writes(word)
            elif redirect.operator == "<":
                self.files.look(word, contents=True)
            elif redirect.operator not in ("<<<", ">&-", "<&-"):
                self.findings.problem(f"the redirection {code(redirect.operator)} is not understood")

    def _operators(self, words: Sequence[Given]) -> None:
        """What is no operator must not become one, quoted or by its value: `-v` can run commands."""
        if any(_SWITCH.fullmatch(word.text) for word in words):
            self.findings.problem("a word in a condition may be an operator")
        if any(word.split for word in words) or (len(words) > 1 and any(word.variable for word in words)):
            self.findings.problem("a variable in a condition may be taken for an operator")

    def _condition_word(self, operator: str, given: Given) -> None:
        if operator in _FILE_TESTS or operator in ("-nt", "-ot", "-ef"):
            if given.variable:
                self.findings.problem("a condition looks at a file whose name is not known")
            self.files.look(given, contents=False)
        elif given.stream:
            self.findings.problem("the output of a command stands for a word")

    # --- programs that need more than the table --------------------------------------------------

    def _check(self, program: Program, found: Sorted, depth: int, *, lists: bool) -> None:
        match program.check:
            case "awk" | "sed" | "jq":
                self._script(program, found)
            case "printf":
                if found.operands[:1] and found.operands[0].variable:
                    self.findings.problem("the format of `printf` is not known")
            case "test":
                self._test(found)
            case "cd":
                self._cd(found, depth)
            case "tar":
                if any(":" in item.text for _, _, item in found.options if item is not None):
                    self.findings.problem("an archive with a colon in its name may be on another machine")
            case "xargs":
                self._xargs(found, depth, lists=lists)
            case "command":
                if not found.has("-v", "-V") and found.rest:
                    self._run(found.rest, depth + 1)
            case _:
                if program.words.others == "command" and found.rest:
                    self._wrapped(found.rest, depth)

    def _script(self, program: Program, found: Sorted) -> None:
        options = {"sed": ("-e", "--expression"), "awk": (), "jq": ()}[program.check]
        texts = [item.text for item in found.values(*options)] if options else []
        if not texts and not (program.instead and found.has(*program.instead)):
            texts = [item.text for item in found.operands[:1]]
        judge = {"sed": scripts.sed, "awk": scripts.awk, "jq": scripts.jq}
        if why := judge[program.check]("\n".join(texts)):
            self.findings.problem(f"{code(program.name)}: {why}")

    def _test(self, found: Sorted) -> None:
        words = found.operands
        pairs = list(zip([Given(""), *words], words, strict=False))
        operators = _TEST_OPERATORS | _FILE_TESTS
        loose = [after for before, after in pairs if before.text not in operators]
        self._operators([word for word in loose if word.text not in operators])
        for before, after in pairs:
            self._condition_word(before.text, after)

    def _cd(self, found: Sorted, depth: int) -> None:
        if depth or len(found.operands) != 1 or found.operands[0].text in ("", "-"):
            self.findings.problem("it changes to a folder that is not named")
            return
        if self.findings.harmless:
            to = found.operands[0].text
            self.files.cwds = tuple(dict.fromkeys(places.folder(cwd, to) for cwd in self.files.cwds))

    def _wrapped(self, words: Sequence[Given], depth: int) -> None:
        """A command inside another one; variables may be set before it, as `env` does."""
        for index, word in enumerate(words):
            name, equals, value = word.text.partition("=")
            if not equals:
                self._run(words[index:], depth + 1)
                return
            self._assignment(name, None if word.variable else value)
            self.findings.loose = True

    def _xargs(self, found: Sorted, depth: int, *, lists: bool) -> None:
        command = list(found.rest) or [Given("echo")]
        program = self.table.programs.get(command[0].text)
        if program is not None and program.no_options and program.words.others == "text":
            # Such a program does the same with any words.
            self._run(command, depth + 1)
        elif lists and found.has("-0", "--null") and not found.has("-I"):
            self._run([*command, Given("./any", any_file=True)], depth + 1)
        else:
            self.findings.problem("what `xargs` will read decides about the command")
            self._run(command, depth + 1)

    def _find(self, words: Sequence[Given], depth: int) -> list[Given]:
        """The words of `find` without the commands that it runs, which are judged by themselves."""
        out: list[Given] = []
        index, runs = 0, False
        while index < len(words):
            if words[index].text not in RUNS:
                out.append(words[index])
                index += 1
                continue
            runs = True
            ends = (at for at in range(index + 1, len(words)) if words[at].text in (";", "+"))
            end = next(ends, len(words))
            if end == index + 1 or words[index].text in ("-ok", "-okdir"):
                self.findings.problem("`find` runs a command that cannot be read")
            else:
                self._run(list(map(self._found, words[index + 1 : end])), depth + 1)
            index = end + 1
        if runs and not plain_files(out):
            self.findings.problem(
                "`find -exec` with more than `-type f` may follow links out of the workspace"
            )
        return out

    def _found(self, word: Given) -> Given:
        """A word of a command that `find` runs: it puts names in the place of braces."""
        if word.text == "{}":
            return Given("./{}", any_file=True)
        if "{}" in word.text:
            self.findings.problem("the name of a file becomes a part of a word")
        return word


_EFFECTS: dict[Kind, str] = {
    "reads": "reads",
    "writes": "writes files",
    "deletes": "deletes files",
    "network": "uses the network",
    "executes": "may run other programs or change the machine",
    "history": "changes history",
}


def _host(text: str) -> str:
    match = _URL_HOST.match(text)
    return match[1] if match else text
