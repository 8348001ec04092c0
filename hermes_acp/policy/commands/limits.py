"""Hard limits: commands that are refused whatever a mode or a rule says, because nothing comes back."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

_FRONT = frozenset({"builtin", "busybox", "command", "doas", "env", "exec", "nice", "nohup", "sudo", "time"})
_EVERYTHING = re.compile(
    r"(?:/+|/+\.?|~/?|\$HOME/?|\$\{HOME\}/?|/(?:home|root|usr|etc|var|boot|bin|lib|Users))/?\**"
)
_DISK = re.compile(r"/dev/(?:sd[a-z]|hd[a-z]|vd[a-z]|xvd[a-z]|nvme\d|mmcblk\d|disk\d|mapper/|dm-\d|md\d)\S*")
_DISK_PROGRAMS = re.compile(r"mkfs(?:\.\w+)?|mke2fs|wipefs|blkdiscard|shred|cryptsetup|mkswap|sgdisk|parted")

EVERYTHING = (
    "This would delete the system or the whole home folder, which is never done. "
    "Name exactly what has to go, by its own path."
)
DISK = (
    "This would overwrite a disk, which is never done. "
    "If the user wants it, they have to run it in a terminal of their own."
)


def limit(words: Sequence[str]) -> str:
    """Why a command, given as its words, is refused for good; empty for all others."""
    words = _without_front(words)
    if not words:
        return ""
    program, others = posixpath.basename(words[0]), words[1:]
    if program == "rm" and _recursive(others) and any(map(_EVERYTHING.fullmatch, others)):
        return EVERYTHING
    if program == "find" and "-delete" in others and any(map(_EVERYTHING.fullmatch, others[:1])):
        return EVERYTHING
    if _DISK_PROGRAMS.fullmatch(program) and any(map(_DISK.fullmatch, others)):
        return DISK
    if program == "dd" and any(word.startswith("of=") and _DISK.fullmatch(word[3:]) for word in others):
        return DISK
    return ""


def target_limit(path: str) -> str:
    """The same for a file that output goes to."""
    return DISK if _DISK.fullmatch(path) else ""


def _without_front(words: Sequence[str]) -> Sequence[str]:
    """The command behind programs that only run it in another way."""
    for index, word in enumerate(words):
        if posixpath.basename(word) not in _FRONT and not word.startswith("-") and "=" not in word:
            return words[index:]
    return ()


def _recursive(words: Sequence[str]) -> bool:
    return any(
        word == "--recursive" or re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*", word) is not None for word in words
    )
