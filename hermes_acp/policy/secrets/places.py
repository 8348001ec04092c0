"""Secrets that stand where secrets stand: keys in armour, users in URLs, `curl -u`, Secrets of Kubernetes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from hermes_acp.policy.secrets.values import secret

ARMOUR_CHARS = 65_536
"""Characters of the longest private key."""

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{1,64}-----")
_BODY = re.compile(r"(?:(?:[\s\"'+,>|]|\\[nr]){0,64}+[A-Za-z0-9+/=]{20,512}+){0,2000}+")
_PUTTY = re.compile(r"Private-Lines:[ \t]{0,4}\d{1,4}\r?\n((?:[A-Za-z0-9+/=]{1,128}+\r?\n?){1,400}+)")
_NETRC = re.compile(r"\blogin\s{1,8}\S{1,128}+\s{1,8}password\s{1,8}(\S{1,256}+)")
_BASIC = re.compile(r"\bbasic[ ]{1,4}([A-Za-z0-9+/]{8,1024}+={0,2})(?![A-Za-z0-9+/=])", re.IGNORECASE)
_USER = re.compile(r"://([^\s/:@\"'<>?#]{0,128}+):([^\s/\"'`<>\\?#]{1,256}+)")
_AUTHORITY = re.compile(r"[\w.\[-]")
_CURL = re.compile(
    r"""(?<![\w-])(?:-u|--user|--proxy-user)[ =]{0,3}(?:
        "([^"\s:]{0,128}+):([^"\s]{0,256}+)"
        |'([^'\s:]{0,128}+):([^'\s]{0,256}+)'
        |([^\s:"']{0,128}+):([^\s"']{0,256}+)
    )""",
    re.VERBOSE,
)
_KUBERNETES = re.compile(r"\bkind[\"']?[ ]?:[ ]?[\"']?secret\b", re.IGNORECASE)
_DATA = re.compile(r"(?:^|[\n,{])[ \t]{0,40}[\"']?data[\"']?[ ]{0,4}:[ ]{0,4}(?:\{|\r?\n)")
_OUTDENTED = re.compile(r"\n(?=[^ \t\r\n])")
_ENTRY = re.compile(
    r"(?:^|(?<=[{,]))[ \t]{0,64}+[\"']?[\w.-]{1,128}+[\"']?[ ]{0,4}:[ ]{0,4}[\"']?"
    r"([A-Za-z0-9+/]{8,8192}+={0,2})(?=[\"'\s,}]|\Z)",
    re.MULTILINE,
)
_COMMON = re.compile(
    r"pass(?:word|wd)?|pwd|secret|token|user(?:name)?|login|key|api_?key|root|admin|test|guest|postgres|mysql"
    r"|redis|mongo(?:db)?|rabbitmq|example|changeme|foo|bar|baz"
)
_STANDING_IN = re.compile(
    r"[$%<{\[]|\*{2}|x{3}|\.{3}|your|my_?pass|pass_?word|_pass|port\b|api_?key|token|secret"
)

Found = tuple[int, int, str]


def find(text: str) -> Iterator[Found]:
    """Start, end and name of each secret, in no order."""
    small = text.lower()
    if "PRIVATE KEY" in text:
        yield from _armour(text)
    if "Private-Lines:" in text:
        yield from ((*match.span(1), "private key") for match in _PUTTY.finditer(text))
    if "login" in text and "password" in text:
        yield from _netrc(text)
    if "://" in text and "@" in text:
        yield from _users(text)
    if "asic " in text or "ASIC " in text:
        yield from _basic(text)
    if "curl" in text:
        yield from _curl(text)
    if "data" in text and "kind" in small and "secret" in small:
        yield from _kubernetes(text)


def _armour(text: str) -> Iterator[Found]:
    """With what stands up to the end of the key; where there is no end, with the lines of base64."""
    for begin in _BEGIN.finditer(text):
        dashes = text.find("-----", begin.end(), begin.end() + ARMOUR_CHARS)
        last = _END.match(text, dashes) if dashes >= 0 else None
        last = last or _BODY.match(text, begin.end())
        yield (begin.start(), last.end() if last else begin.end(), "private key")


def _netrc(text: str) -> Iterator[Found]:
    for match in _NETRC.finditer(text):
        if not _stands_in("", match[1]):
            yield (*match.span(1), "password")


def _users(text: str) -> Iterator[Found]:
    at = text.find("://")
    while at >= 0:
        if match := _USER.match(text, at):
            password, sign, host = match[2].rpartition("@")
            real = sign and _AUTHORITY.match(host) and not host.startswith("sha256:")
            if real and not _stands_in(match[1], password):
                yield (match.start(2), match.start(2) + len(password), "password")
        at = text.find("://", at + 3)


def _stands_in(user: str, password: str) -> bool:
    """Whether it is a word for a password, and none."""
    small = password.lower()
    if len(password) < 3 or small == user.lower() or _COMMON.fullmatch(small):
        return True
    return bool(_STANDING_IN.search(small))


def _basic(text: str) -> Iterator[Found]:
    for match in _BASIC.finditer(text):
        try:
            user, sign, password = base64.b64decode(match[1], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if sign and password.isprintable() and not _stands_in(user, password):
            yield (*match.span(1), "password")


def _curl(text: str) -> Iterator[Found]:
    for match in _CURL.finditer(text):
        group = match.lastindex or 0
        # A key can be given as the user, with an empty password.
        part = group if match[group] else group - 1
        if secret(match[part], "password"):
            yield (*match.span(part), "password")


def _kubernetes(text: str) -> Iterator[Found]:
    """The data of each YAML document (or JSON text) whose kind is Secret."""
    end = 0
    for kind in _KUBERNETES.finditer(text):
        if kind.start() < end:
            continue
        start = max(text.rfind("\n---", end, kind.start()), end)
        end = text.find("\n---", kind.end())
        end = len(text) if end < 0 else end
        yield from _entries(text, start, end)


def _entries(text: str, start: int, end: int) -> Iterator[Found]:
    while block := _DATA.search(text, start, end):
        start = _block_end(text, block.end(), end)
        for entry in _ENTRY.finditer(text, block.end(), start):
            yield (*entry.span(1), "kubernetes secret")


def _block_end(text: str, start: int, end: int) -> int:
    """The end of the indented lines, or of the braces."""
    if text[start - 1] == "{":
        close = text.find("}", start, end)
        return end if close < 0 else close
    outdented = _OUTDENTED.search(text, start - 1, end)
    return outdented.start() if outdented else end
