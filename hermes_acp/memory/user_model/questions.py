"""The questions about a user that evidence can answer, and their answers: a closed list. Pure.

What a claim says stands here word for word, so nothing that a stranger wrote gets into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hermes_acp.memory.facts.fact import Kind
from hermes_acp.memory.user_model.claims import PREFIX
from hermes_acp.records import record


@record
class Answer:
    """An answer to a question about the user: the fact that it would be."""

    question: str
    text: str
    kind: Kind = "environment"

    @property
    def key(self) -> str:
        """The key of the fact."""
        return f"{PREFIX}{self.question}"


# --- tools -----------------------------------------------------------------------------------------

_TOOLS: Mapping[str, tuple[str, str]] = {
    "python packages": ("Manages Python packages with {}.", "uv pip poetry pdm pipenv conda mamba"),
    "javascript packages": ("Manages JavaScript packages with {}.", "npm pnpm yarn bun"),
    "python tests": ("Tests Python code with {}.", "pytest unittest"),
    "javascript tests": ("Tests JavaScript code with {}.", "vitest jest mocha ava"),
    "python linter": ("Checks Python code with {}.", "ruff flake8 pylint"),
    "python types": ("Checks Python types with {}.", "mypy pyright basedpyright ty"),
    "javascript linter": ("Checks JavaScript code with {}.", "eslint biome oxlint"),
    "tasks": ("Runs the tasks of a project with {}.", "make just task"),
    "java builds": ("Builds Java code with {}.", "mvn gradle bazel ant"),
    "containers": ("Runs containers with {}.", "docker podman nerdctl"),
    "version control": ("Keeps versions with {}.", "git jj hg"),
}
_ALIASES: Mapping[str, str] = {
    "pip3": "pip",
    "uvx": "uv",
    "npx": "npm",
    "pnpx": "pnpm",
    "bunx": "bun",
    "py.test": "pytest",
    "mvnw": "mvn",
    "gradlew": "gradle",
    "docker-compose": "docker",
}
_WORDS_OF_SPEECH = frozenset(
    {"ant", "ava", "bun", "conda", "git", "hg", "jest", "jj", "just", "make", "mamba", "mocha", "poetry"}
    | {"task", "ty", "yarn"}
)
"""Names that mean other things in a sentence, or are said without a wish; as commands they count."""

_BY_TOOL: Mapping[str, Answer] = {
    tool: Answer(question, text.format(tool))
    for question, (text, tools) in _TOOLS.items()
    for tool in tools.split()
}


def of_command(program: str) -> Answer | None:
    """What a program says that somebody runs."""
    name = program.rpartition("/")[2]
    return _BY_TOOL.get(_ALIASES.get(name, name))


def of_word(word: str) -> Answer | None:
    """What a word says that somebody uses in a sentence."""
    name = word.casefold()
    return None if name in _WORDS_OF_SPEECH else _BY_TOOL.get(_ALIASES.get(name, name))


# --- languages of code -----------------------------------------------------------------------------

_SUFFIXES: Mapping[str, str] = {
    "C": ".c .h",
    "C#": ".cs",
    "C++": ".cc .cpp .cxx .hpp",
    "Clojure": ".clj .cljs",
    "Dart": ".dart",
    "Elixir": ".ex .exs",
    "Emacs Lisp": ".el",
    "Erlang": ".erl",
    "Go": ".go",
    "Haskell": ".hs",
    "Java": ".java",
    "JavaScript": ".js .jsx .mjs .cjs",
    "Julia": ".jl",
    "Kotlin": ".kt .kts",
    "Lua": ".lua",
    "OCaml": ".ml .mli",
    "PHP": ".php",
    "Python": ".py .pyi",
    "R": ".r",
    "Ruby": ".rb",
    "Rust": ".rs",
    "SQL": ".sql",
    "Scala": ".scala",
    "Svelte": ".svelte",
    "Swift": ".swift",
    "Terraform": ".tf",
    "TypeScript": ".ts .tsx .mts",
    "Vue": ".vue",
    "Zig": ".zig",
    "shell scripts": ".sh .bash .zsh",
}
_BY_SUFFIX: Mapping[str, str] = {
    suffix: language for language, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


def of_suffix(suffix: str) -> Answer | None:
    """What the suffix of a file says that somebody works on; several languages can be true at once."""
    language = _BY_SUFFIX.get(suffix.casefold())
    return Answer(f"language {language.casefold()}", f"Works with {language}.") if language else None


# --- wishes ----------------------------------------------------------------------------------------


def _wish(question: str, text: str, pattern: str) -> tuple[Answer, re.Pattern[str]]:
    return Answer(question, text, "preference"), re.compile(pattern, re.IGNORECASE)


_NO = r"\b(?:no|not|don[’']?t|do not|without|fewer|less|too many|needless|unnecessary|remove|drop|stop)\b"
_WANTED = r"\b(?:add|write|include|need|needs|more|missing|with|cover)\b"

_WISHES: tuple[tuple[Answer, re.Pattern[str]], ...] = (
    _wish("comments", "Wants few comments in code.", rf"{_NO}[^.]{{0,30}}\bcomments?\b"),
    _wish("comments", "Wants code to be commented.", rf"{_WANTED}[^.]{{0,20}}\bcomments?\b"),
    _wish("tests", "Wants no tests unless asked.", rf"{_NO}[^.]{{0,20}}\btests\b(?! (?:fail|pass|break))"),
    _wish("tests", "Asks for tests along with changes.", rf"{_WANTED}[^.]{{0,30}}\btests?\b"),
    _wish(
        "changes",
        "Prefers small changes.",
        r"\b(?:smaller|small|minimal|tiny)\b[^.]{0,12} (?:diff|change|commit|patch|step|pr)e?s?\b"
        r"|\bsplit (?:it|this|that|them)\b|\btoo (?:big|large|much at once|many changes)\b",
    ),
    _wish(
        "answers",
        "Wants short answers.",
        r"\b(?:shorter|briefer|briefly|concise(?:ly)?|less verbose|too (?:verbose|wordy))\b"
        r"|\b(?:keep it short|be brief)\b",
    ),
    _wish(
        "answers",
        "Wants detailed explanations.",
        r"\b(?:(?:more|in) details?|more detailed|explain (?:more|why|step by step)|elaborate)\b",
    ),
    _wish(
        "type annotations",
        "Wants type annotations.",
        rf"(?:{_WANTED}|\buse\b)[^.]{{0,20}}\btype (?:hints?|annotations?)\b",
    ),
    _wish("emojis", "Wants no emojis.", rf"{_NO}[^.]{{0,15}}\bemojis?\b"),
)


def of_sentence(sentence: str) -> Iterator[tuple[Answer, str]]:
    """What a sentence of the user wishes for, with a word that says so; one answer to each question."""
    answered: set[str] = set()
    for answer, pattern in _WISHES:
        if answer.question not in answered and (found := pattern.search(sentence)):
            answered.add(answer.question)
            yield answer, found[0].split()[-1]


ACCEPTS = Answer("review", "Accepts most proposed edits as they are.", "preference")
DECLINES = Answer("review", "Often turns proposed edits down.", "preference")


# --- languages of people ---------------------------------------------------------------------------

_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "Japanese": re.compile("[\u3040-\u30ff]"),
    "Korean": re.compile("[\uac00-\ud7af]"),
    "Chinese": re.compile("[\u4e00-\u9fff]"),
    "Ukrainian": re.compile("[іїєґ]", re.IGNORECASE),
    "Russian": re.compile("[\u0430-\u044f]", re.IGNORECASE),
    "Greek": re.compile("[\u03b1-\u03c9]", re.IGNORECASE),
    "Arabic": re.compile("[\u0620-\u064a]"),
    "Hebrew": re.compile("[\u05d0-\u05ea]"),
    "Hindi": re.compile("[\u0904-\u0939]"),
    "Thai": re.compile("[\u0e01-\u0e3a]"),
}
_SMALL_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "Dutch": "de het een en is niet ik je wij met voor van dat ook zijn wordt",
        "English": "the and is it to of you that this with for not are please can in",
        "French": "le la les et est une des pas je vous nous avec pour dans que ce",
        "German": "der die das und ist nicht ich du wir mit bitte auch ein eine für noch",
        "Italian": "il che di è una non per con sono questo della come anche gli nel",
        "Polish": "nie jest się na że jak dla proszę tylko czy tak są to już",
        "Portuguese": "os as é uma não por com para que como mas isso está em um",
        "Spanish": "el los las es una por con para que no como pero del está en un",
        "Swedish": "det och är att inte jag en ett med för som på av kan vi",
        "Turkish": "ve bir bu için ile da değil ne mi çok gibi var yok ama",
    }.items()
}
_LETTERS = 4
"""Letters of a script that make a text one of its language."""
_SURE = 3
"""Small words of a language that a text must have, and `_AHEAD` more than of any other."""
_AHEAD = 2


def of_text(text: str) -> Answer | None:
    """What the language of a text says; None when it is too short to tell."""
    for language, script in _SCRIPTS.items():
        if len(script.findall(text)) >= _LETTERS:
            return _writes(language)
    said = set(re.findall(r"[^\W\d_]+", text.casefold()))
    counts = sorted(((len(said & words), language) for language, words in _SMALL_WORDS.items()), reverse=True)
    (best, language), (second, _) = counts[:2]
    return _writes(language) if best >= _SURE and best >= second + _AHEAD else None


def _writes(language: str) -> Answer:
    return Answer("messages", f"Writes in {language}.", "preference")
