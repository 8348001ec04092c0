"""Restricts itself and becomes the command: `… OPTION=VALUE … -- COMMAND`. Standard library only.

Run by `python -I -S`. Options:

- `namespaces=1`: a user and network namespace of its own, with nothing but a loopback device;
- `terminal=1`: a session of its own, at the terminal that it has as its input;
- `i=DEVICE:NUMBER:PATH`: this very file has to be there, else nothing is run;
- `calls=0`: no Unix sockets (a socket pair is none), no changes of modes, owners and attributes of files,
  and no calls that would go round this;
- `r=PATH` and `l=PATH`: below it files may be read and run, folders listed; below it folders may be listed;
- `w=PATH`: below it anything may be changed; for a file: written. Its terminal may be, too.

Where an `r=` or `l=` is given, all that is not named cannot be read. A path that is gone is left out.
"""

import ctypes
import os
import stat
import struct
import sys

RULESET, RULE, RESTRICT = 444, 445, 446
"""The system calls of Landlock, the same on every machine."""

NEW_USER, NEW_NET = 0x10000000, 0x40000000
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REFER, TRUNCATE = 1, 2, 4, 8, 1 << 13, 1 << 14
CHANGES = WRITE_FILE | 0x1FF0
"""Writing files, and making and removing whatever a folder can hold."""

ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
SCOPES = 3
"""Abstract sockets and signals."""

ABI_REFER, ABI_TRUNCATE, ABI_SCOPES = 2, 3, 6

NEWER = (425, 452, 463, 466, 469)
"""Calls with the same number on every machine: io_uring_setup, fchmodat2, and others for attributes."""

ARCHITECTURES = {
    # The architecture as the kernel knows it; `socket`; and those that change modes, owners and attributes,
    # which Landlock does not know of.
    "x86_64": (0xC000003E, 41, (90, 91, 92, 93, 94, 260, 268, 188, 189, 190, 197, 198, 199)),
    "aarch64": (0xC00000B7, 198, (52, 53, 54, 55, 5, 6, 7, 14, 15, 16)),
}
X32 = 0x40000000
SET_FLAGS, TAKE_TERMINAL = 0x8914, 0x540E
AF_UNIX = 1

FAILED = 125
"""The exit code when no sandbox could be made; `env` and `timeout` use it for the same."""

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Do what the options say, and become the command."""
    cut = arguments.index("--")
    options = [(item[: item.index("=")], item[item.index("=") + 1 :]) for item in arguments[:cut]]
    command = arguments[cut + 1 :]
    names = {name for name, _ in options}
    try:
        if "namespaces" in names:
            own_namespaces()
        for name, value in options:
            if name == "i":
                recognise(*value.split(":", 2))
        if "terminal" in names:
            os.setsid()
            checked(libc.ioctl(0, TAKE_TERMINAL, 0))
        checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        if "w" in names:
            restrict_files([(name, path) for name, path in options if name in ("r", "l", "w")])
        if "calls" in names:
            forbid_calls()
    except OSError as error:
        fail(error)
    try:
        os.execvpe(command[0], command, environment())
    except OSError as error:
        fail(error)


def recognise(device: str, number: str, path: str) -> None:
    """Raise OSError unless the file at `path` is the one with this number."""
    found = os.lstat(path)
    if (found.st_dev, found.st_ino) != (int(device), int(number)):
        raise OSError(0, path + " was exchanged by another command while the sandbox was made: try again")


def environment() -> dict[bytes, bytes]:
    """The environment as it was given: Python may have added to it."""
    with open("/proc/self/environ", "rb") as handle:
        entries = handle.read().split(b"\0")
    return {name: value for name, sign, value in (entry.partition(b"=") for entry in entries) if sign}


def own_namespaces() -> None:
    """No network but a loopback device; the same user inside as outside."""
    user, group = os.getuid(), os.getgid()
    checked(libc.unshare(NEW_USER | NEW_NET))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open("/proc/self/" + file, "w") as handle:
            handle.write(text)
    loopback = checked(libc.socket(2, 2, 0))
    checked(libc.ioctl(loopback, SET_FLAGS, struct.pack("16sh14x", b"lo", 1)))
    os.close(loopback)


def restrict_files(rules: list[tuple[str, str]]) -> None:
    """Allow what the rules say and nothing else; signals and abstract sockets stay inside where possible."""
    abi = libc.syscall(RULESET, None, 0, 1)
    if abi < 1:
        raise OSError(ctypes.get_errno(), "Landlock is not available")
    change = CHANGES | (REFER if abi >= ABI_REFER else 0) | (TRUNCATE if abi >= ABI_TRUNCATE else 0)
    reads = any(name != "w" for name, _ in rules)
    rights = {
        "r": EXECUTE | READ_FILE | READ_DIR,
        "l": READ_DIR,
        "w": change | (READ_FILE | READ_DIR | EXECUTE if reads else 0),
    }
    handled = change | (rights["r"] if reads else 0)
    parts = [handled]
    # The network has a namespace of its own, so nothing is said about it here.
    if abi >= ABI_SCOPES:
        parts += [0, SCOPES]
    attributes = struct.pack(f"{len(parts)}Q", *parts)
    ruleset = checked(libc.syscall(RULESET, attributes, len(attributes), 0))
    for name, path in rules:
        allow(ruleset, path, rights[name] & handled)
    if stat.S_ISCHR(os.fstat(0).st_mode):
        allow(ruleset, "/proc/self/fd/0", rights["w"] & handled)
    checked(libc.syscall(RESTRICT, ruleset, 0))
    os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """One rule; a link is none of its own."""
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    is_folder = os.path.isdir(path)
    checked(
        libc.syscall(
            RULE, ruleset, 1, struct.pack("=Qi", rights if is_folder else rights & ON_FILES, file), 0
        )
    )
    os.close(file)


def forbid_calls() -> None:
    """Refuse what Landlock cannot: with it, a command could reach sockets and change attributes anywhere."""
    known = ARCHITECTURES.get(os.uname().machine)
    if known is None:
        raise OSError(0, "no filter of system calls is known for " + os.uname().machine)
    architecture, socket, others = known
    refused = (*others, *NEWER)
    kill, refuse, go_on = 0x80000000, 0x00050000 | 13, 0x7FFF0000
    load, equal, above, end = 0x20, 0x15, 0x35, 0x06
    program = (
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (end, 0, 0, kill),
        (load, 0, 0, 0),
        (above, len(refused) + 3, 0, X32),
        *((equal, len(refused) + 2 - index, 0, number) for index, number in enumerate(refused)),
        (equal, 0, 3, socket),
        (load, 0, 0, 16),
        (equal, 0, 1, AF_UNIX),
        (end, 0, 0, refuse),
        (end, 0, 0, go_on),
    )
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    filter_program = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    checked(libc.prctl(SET_SECCOMP, FILTER, filter_program, 0, 0))


def checked(result: int) -> int:
    """The result of a call; raises OSError for a failure."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def fail(error: OSError) -> None:
    """Say why there is no sandbox; nothing was run."""
    sys.stderr.write(f"hermes-editor-sandbox: {error}\n")
    sys.exit(FAILED)


main(sys.argv[1:])
