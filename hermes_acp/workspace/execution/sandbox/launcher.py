"""Restricts itself and becomes the command: `… OPTION … -- COMMAND`. Standard library only.

Run by `python -I -S`. Options, in this order:

- `namespaces=1`: a user, mount, network and IPC namespace of its own, with nothing but a loopback device and
  with everything mounted read-only; `namespaces=network` keeps the machine's network;
- `--bind FROM TO`, `--ro-bind FROM TO`, `--tmpfs TO`, `--remount-ro TO`, `--dev TO`: mounts in these
  namespaces, as bubblewrap understands them. FROM is always what was there before the first of them;
- `terminal=1`: a session of its own, at the terminal that it has as its input;
- `i=DEVICE:NUMBER:PATH`: this very file has to be there, else nothing is run;
- `w=PATH`: below it anything may be changed; for a file: written. Its terminal may be, too. What no
  `w=` names cannot be changed, and pipes and devices cannot be written to. A path that is gone is left out.
"""

import ctypes
import os
import stat
import struct
import sys

RULESET, RULE, RESTRICT = 444, 445, 446
"""The system calls of Landlock, the same on every machine."""

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
"""Those for mounts, which the C library may not know."""

NEW_MOUNT, NEW_IPC, NEW_USER, NEW_NET = 0x20000, 0x08000000, 0x10000000, 0x40000000
NO_NEW_PRIVILEGES, DROP_CAPABILITY, CAPABILITIES = 38, 24, 64

HERE, CLONE, RECURSIVE, THE_FILE, NO_LINK, CLOSE = -100, 1, 0x8000, 0x1000, 0x100, 0o2000000
FROM_FILE = 4
READ_ONLY, NO_SETUID, NO_DEVICES, PRIVATE = 1, 2, 4, 1 << 18

OPERANDS = {"--bind": 2, "--ro-bind": 2, "--tmpfs": 1, "--remount-ro": 1, "--dev": 1}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

WRITE_FILE, REFER, TRUNCATE = 2, 1 << 13, 1 << 14
CHANGES = WRITE_FILE | 0x1FF0
"""Writing files, and making and removing whatever a folder can hold."""

ON_FILES = WRITE_FILE | TRUNCATE
SCOPES = 3
"""Abstract sockets and signals."""

ABI_REFER, ABI_TRUNCATE, ABI_SCOPES = 2, 3, 6

SET_FLAGS, TAKE_TERMINAL = 0x8914, 0x540E
BROKEN_PIPE, FILE_TOO_LONG, DEFAULT = 13, 25, 0

FAILED = 125
"""The exit code when no sandbox could be made; `env` and `timeout` use it for the same."""

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Do what the options say, and become the command."""
    cut = arguments.index("--")
    options, mounts = understood(arguments[:cut])
    command = arguments[cut + 1 :]
    names = dict(options)
    try:
        if "namespaces" in names:
            cwd = os.getcwd()
            own_namespaces(network=names["namespaces"] == "network")
            own_mounts(mounts)
            os.chdir(cwd)
            drop_capabilities()
        for name, value in options:
            if name == "i":
                recognise(*value.split(":", 2))
        if "terminal" in names:
            take_terminal()
        checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        if "w" in names:
            restrict_files([value for name, value in options if name == "w"])
    except OSError as error:
        fail(error)
    # Python ignores them, and what ignores a signal starts programs that do.
    for number in (BROKEN_PIPE, FILE_TOO_LONG):
        libc.signal(number, DEFAULT)
    try:
        os.execvpe(command[0], command, environment())
    except OSError as error:
        fail(error)


def understood(words: list[str]) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """The options as names and values, and the mounts as words."""
    options: list[tuple[str, str]] = []
    mounts: list[list[str]] = []
    position = 0
    while position < len(words):
        word = words[position]
        last = position + OPERANDS.get(word, 0)
        if word in OPERANDS:
            mounts.append(words[position : last + 1])
        else:
            name, _, value = word.partition("=")
            options.append((name, value))
        position = last + 1
    return options, mounts


def take_terminal() -> None:
    """Make the terminal at the input the one of this session."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    checked(libc.ioctl(0, TAKE_TERMINAL, 0))


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


def own_namespaces(*, network: bool) -> None:
    """No network but a loopback device, or the machine's; the same user inside as outside."""
    user, group = os.getuid(), os.getgid()
    checked(libc.unshare(NEW_USER | NEW_MOUNT | NEW_IPC | (0 if network else NEW_NET)))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open("/proc/self/" + file, "w") as handle:
            handle.write(text)
    if not network:
        loopback = checked(libc.socket(2, 2, 0))
        checked(libc.ioctl(loopback, SET_FLAGS, struct.pack("16sh14x", b"lo", 1)))
        os.close(loopback)


def own_mounts(mounts: list[list[str]]) -> None:
    """Everything read-only, then the mounts, each over those before it."""
    sources = [copied(words[1]) if len(words) == 3 else -1 for words in mounts]
    devices = [(name, copied("/dev/" + name)) for name in DEVICES if os.path.exists("/dev/" + name)]
    change(HERE, "/", RECURSIVE, READ_ONLY)
    for (kind, *paths), source in zip(mounts, sources, strict=True):
        target = paths[-1]
        if kind == "--ro-bind":
            change(source, "", THE_FILE | RECURSIVE, READ_ONLY)
        if source >= 0:
            place(source, target)
        elif kind == "--remount-ro":
            change(HERE, target, 0, READ_ONLY)
        else:
            empty(target)
        if kind == "--dev":
            fill_devices(target, devices)


def copied(path: str) -> int:
    """A mount that is nowhere yet, of what is at the path now. A link is none of its own."""
    flags = CLONE | RECURSIVE | NO_LINK | CLOSE
    return checked(libc.syscall(OPEN_TREE, HERE, os.fsencode(path), flags), path)


def change(mount: int, path: str, flags: int, attributes: int) -> None:
    """Set attributes of a mount, and let none outside of these namespaces follow it."""
    wanted = struct.pack("4Q", attributes, 0, PRIVATE, 0)
    checked(libc.syscall(MOUNT_SETATTR, mount, os.fsencode(path), flags, wanted, len(wanted)), path)


def place(mount: int, path: str) -> None:
    """Put a mount at its place, which comes into being where an empty folder allows it."""
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISDIR(os.fstat(mount).st_mode):
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    checked(libc.syscall(MOVE_MOUNT, mount, b"", HERE, os.fsencode(path), FROM_FILE), path)
    os.close(mount)


def empty(path: str) -> None:
    """A new and empty folder at a place that is there."""
    checked(libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", NO_SETUID | NO_DEVICES, b"mode=0755"), path)


def fill_devices(folder: str, devices: list[tuple[str, int]]) -> None:
    """What every program expects there: terminals and shared memory are those of the sandbox alone."""
    for name, mount in devices:
        place(mount, folder + "/" + name)
    os.mkdir(folder + "/shm")
    os.mkdir(folder + "/pts")
    terminals = os.fsencode(folder + "/pts")
    checked(libc.mount(b"devpts", terminals, b"devpts", NO_SETUID, b"newinstance,ptmxmode=0666,mode=620"))
    for name, leads in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        os.symlink(leads, folder + "/" + name)
    for name, leads in (("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(leads, folder + "/" + name)


def drop_capabilities() -> None:
    """None is left in these namespaces after the start of the command: one could undo the mounts."""
    for number in range(CAPABILITIES):
        if libc.prctl(DROP_CAPABILITY, number, 0, 0, 0) < 0:
            # The kernel knows no more of them.
            break


def restrict_files(paths: list[str]) -> None:
    """Allow changes at the paths alone; signals and abstract sockets stay inside where possible."""
    abi = libc.syscall(RULESET, None, 0, 1)
    if abi < 1:
        raise OSError(ctypes.get_errno(), "Landlock is not available")
    rights = CHANGES | (REFER if abi >= ABI_REFER else 0) | (TRUNCATE if abi >= ABI_TRUNCATE else 0)
    parts = [rights]
    # The network has a namespace of its own, so nothing is said about it here.
    if abi >= ABI_SCOPES:
        parts += [0, SCOPES]
    attributes = struct.pack(f"{len(parts)}Q", *parts)
    ruleset = checked(libc.syscall(RULESET, attributes, len(attributes), 0))
    for path in paths:
        allow(ruleset, path, rights)
    if stat.S_ISCHR(os.fstat(0).st_mode):
        allow(ruleset, "/proc/self/fd/0", rights)
    checked(libc.syscall(RESTRICT, ruleset, 0))
    os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """One rule; a link is none of its own."""
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    is_folder = os.path.isdir(path)
    rule = struct.pack("=Qi", rights if is_folder else rights & ON_FILES, file)
    checked(libc.syscall(RULE, ruleset, 1, rule, 0))
    os.close(file)


def checked(result: int, path: str | None = None) -> int:
    """The result of a call; raises OSError for a failure."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result


def fail(error: OSError) -> None:
    """Say why there is no sandbox; nothing was run."""
    sys.stderr.write(f"hermes-editor-sandbox: {error}\n")
    sys.exit(FAILED)


main(sys.argv[1:])
