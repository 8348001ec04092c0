"""What a page does not show, and what it sends when it is shown: comments, hidden elements, images.

A comment of a page is harmless; one that tells a reader to do something is not for people, who cannot
see it.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Iterator
from urllib.parse import unquote_plus

HIDDEN_CHARS = 4_096
"""Characters of a hidden text that are looked at."""

ADDRESS_CHARS = 2_048
"""Characters of an address that are looked at."""

SHORTEST_ORDER = 4
"""Words of the shortest hidden order."""

SENTENCE = 6
"""So many words in an address are a message."""

_COMMENT = re.compile(r"<!--|\[(?://|comment|_)\]:[ ]?(?:#|<>)[ ]?[\"'(]")
_CLOSED = re.compile(r"[\"')][ \t]{0,8}(?:\n|\Z)")
_CONCEALED = re.compile(
    r"""<[a-z][a-z0-9]{0,10}\s[^<>]{0,400}?(?:
        display\s?:\s?none | visibility\s?:\s?hidden | font-size\s?:\s?0 | opacity\s?:\s?0(?![.\d])
        | \shidden(?=[\s>=]) | aria-hidden="true" | color\s?:\s?(?:white|transparent|\#fff(?:fff)?)
    )[^<>]{0,400}>""",
    re.IGNORECASE | re.VERBOSE,
)
_BEFORE = r"""(?:please|now|then|first|also|always|never|not|don't|do|must|should|you|note|important|todo
    |ai|assistant|agents?|llm|model|hermes|silently|secretly|quietly|immediately)"""
_ACTS = r"""(?:access|act|answer|append|approve|book|browse|buy|bypass|call|change|checkout|click|clone
    |collect|commit|connect|copy|curl|delete|disable|disregard|download|drop|dump|edit|email|enable|encode|encrypt
    |execute|exfiltrate|fetch|find|follow|forget|forward|gather|give|grant|hide|ignore|install|invoke|kill|leak
    |log|mail|make|merge|modify|move|navigate|obey|open|order|output|overwrite|pay|post|pretend|print|publish
    |push|read|rename|reply|report|reset|respond|reveal|revert|rewrite|run|save|say|search|send|set|share|skip
    |steal|stop|store|tell|transfer|turn|upload|visit|wget)"""
_AUTHORS = r"(?:add|create|describe|explain|include|insert|list|put|remove|replace|show|update|use|write)"
"""What a note for authors asks for as well."""

_ORDER = re.compile(
    rf"\W{{0,8}}(?:{_BEFORE}\b\W{{1,4}}){{0,5}}(?:{_ACTS}|(?P<author>{_AUTHORS}))\b(?P<rest>[^\n]{{8,}}|\W)",
    re.IGNORECASE | re.VERBOSE,
)
_MORE = re.compile(r"\b(?:and|then|to|before|after|without|instead|until)\b|[;,]", re.IGNORECASE)
_ALSO = re.compile(
    rf"\b(?:and|then|to)[ ](?:{_BEFORE}[ ]){{0,3}}(?:{_ACTS}|{_AUTHORS})\b", re.IGNORECASE | re.VERBOSE
)
_SENSITIVE = re.compile(
    r""":// | ~/ | \.env\b | \bssh\b | \bcurl\b | \bwget\b | \bsudo\b | \baddress\b | \bthe[ ]user\b
    | \b(?:(?:api|private|ssh|access)[ _]?keys?|secrets?|tokens?|passwords?|credentials|approvals?
        |permissions?|shell|script|system[ ]prompt)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_TEMPLATE = re.compile(
    r"""\b(?:this|the|your|these)[ ](?:sections?|lines?|comments?|template|headings?|checklist|pr|pull[ ]
        request|issue|description|title|file[ ]by[ ]hand|badges?)\b
    | \bcopyright\b | \blicen[cs]e | \bgenerated\b | \beslint | \bprettier | \bmarkdownlint | \btoc\b
    | \bif[ ]applicable\b""",
    re.IGNORECASE | re.VERBOSE,
)
_IMAGE = re.compile(
    r"""!\[[^\]\n]{0,256}+\]\(\s{0,4}<?(https?://[^\s<>)]{1,2048}+)
    | <img\b[^<>]{0,400}?\bsrc\s?=\s?["']?(https?://[^\s"'<>]{1,2048}+)""",
    re.IGNORECASE | re.VERBOSE,
)
_DATA = re.compile(
    r"""[?&/=][^?&/=#]{0,64}?(?:
        \{{1,2}[^{}]{1,64}\}{1,2} | \[[^\[\]]{1,64}\] | <[^<>]{1,64}> | %7B | %5B | \$\{ | \$[A-Z_]{3,}
        | \b(?:DATA|SECRETS?|BASE64|ENCODED|CONVERSATION|HISTORY|SUMMARY|PASSWORD|TOKEN|API_KEY
            |INSERT_\w{1,32}|YOUR_\w{1,32})\b
    )""",
    re.VERBOSE,
)
_VALUE = re.compile(r"[?&/][A-Za-z_.-]{0,32}=?([^?&=/#]{24,2048})")
_PRINTABLE = frozenset(string.printable.encode())


def find(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each place, and whether it hides a text; the others carry data away."""
    if "<" in text or "]: " in text:
        yield from ((start, end, True) for start, end in _comments(text))
        yield from ((start, end, True) for start, end in _elements(text))
    if "](" in text or "<" in text:
        yield from (
            (*match.span(), False) for match in _IMAGE.finditer(text) if _carries(match[1] or match[2])
        )


def orders(hidden: str) -> bool:
    """Whether a hidden text tells a reader to do something, and is no note for authors."""
    match = _ORDER.match(hidden)
    if match is None or len(hidden.split()) < SHORTEST_ORDER:
        return False
    if _SENSITIVE.search(match["rest"]):
        return True
    more = _ALSO if match["author"] else _MORE
    return bool(more.search(match["rest"])) and not _TEMPLATE.search(hidden)


def _comments(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for opening in _COMMENT.finditer(text):
        if opening.start() < done:
            continue
        limit = opening.end() + HIDDEN_CHARS
        if opening[0] == "<!--":
            close = text.find("-->", opening.end(), limit)
            inner, done = close, close + 3
        else:
            found = _CLOSED.search(text, opening.end(), limit)
            inner, done = (found.start(), found.end()) if found else (-1, 2)
        if inner < 0:
            inner = done = min(limit, len(text))
        if orders(text[opening.end() : inner]):
            yield opening.start(), done


def _elements(text: str) -> Iterator[tuple[int, int]]:
    for opening in _CONCEALED.finditer(text):
        close = text.find("</", opening.end(), opening.end() + HIDDEN_CHARS)
        end = close if close >= 0 else min(len(text), opening.end() + HIDDEN_CHARS)
        if orders(text[opening.end() : end]):
            yield opening.start(), end


def _carries(address: str) -> bool:
    """Whether the address of an image has a place for data, or data that is a message."""
    query = address[:ADDRESS_CHARS].partition("://")[2].partition("/")[2]
    if _DATA.search("/" + query):
        return True
    return any(_message(match[1]) for match in _VALUE.finditer("/" + query))


def _message(value: str) -> bool:
    plain = unquote_plus(value)
    if len(plain.split()) >= SENTENCE:
        return True
    try:
        decoded = base64.urlsafe_b64decode(
            plain.replace("+", "-").replace("/", "_") + "=" * (-len(plain) % 4)
        )
    except (binascii.Error, ValueError):
        return False
    return len(decoded) >= 18 and _PRINTABLE.issuperset(decoded) and not decoded.startswith(b"{")
