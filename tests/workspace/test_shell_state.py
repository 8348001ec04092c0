"""The shell as data: read from a report, merged, and put into words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.policy.effects import Effect
from hermes_acp.policy.gate import judge
from hermes_acp.workspace.execution.shell_report import Report, Unreadable, read
from hermes_acp.workspace.execution.shell_state import Functions, ShellState, changes, merged

REPORT = (
    b"/work\n\0"
    b'declare -- BASH="/bin/bash"\ndeclare -x PATH="/bin"\ndeclare -x ODD="a\\"b\\$c\\`d\\\\e\nf"\n'
    b"declare -x NEW=$'g\\nh\\303\\251\\x41\\u00e9\\''\ndeclare -ix N=\"3\"\ndeclare -x unset\n"
    b'declare -a list=([0]="x)" [1]=$\'y\\n\')\ndeclare -A map=([")"]="1" [k]="v" )\n'
    b'declare -- own="1"\ndeclare -i RANDOM\n\0'
    b"f () \n{ \n    :\n}\n\0declare -f f\n\0alias l='ls '\\''x'\\'''\n\0"
    b"shopt -u autocd\nset +o errexit\numask 0022\n\0end"
)
READ = Report(
    "/work",
    {"PATH": "/bin", "ODD": 'a"b$c`d\\e\nf', "NEW": "g\nhéAé'", "N": "3"},
    {
        "N": 'declare -ix N="3"',
        "unset": "declare -x unset",
        "list": "declare -a list=([0]=\"x)\" [1]=$'y\\n')",
        "map": 'declare -A map=([")"]="1" [k]="v" )',
        "own": 'declare -- own="1"',
    },
    {"l": "alias l='ls '\\''x'\\'''"},
    Functions("f () \n{ \n    :\n}\n", frozenset({"f"})),
    ("shopt -u autocd", "set +o errexit", "umask 0022"),
)


def test_a_report_is_read():
    assert read(REPORT) == READ


def test_only_the_difference_to_a_new_shell_is_kept():
    new = Report("/", {}, {"own": 'declare -- own="1"'}, {}, Functions(), ("set +o errexit", "umask 0022"))
    state = READ.state({"PATH": "/bin", "GONE": "1", "TERM": "dumb"}, new)
    assert state.exported == {"ODD": 'a"b$c`d\\e\nf', "NEW": "g\nhéAé'", "N": "3"}
    assert state.removed == {"GONE"}
    assert "own" not in state.variables
    assert state.options == ("shopt -u autocd",)


@pytest.mark.parametrize("end", range(0, len(REPORT), 7))
def test_a_report_that_is_cut_is_refused(end):
    with pytest.raises(Unreadable):
        read(REPORT[:end])


@pytest.mark.parametrize(
    ("part", "forged"),
    [
        (b"declare -x unset\n", b"declare -x unset\nalias ls=evil\n"),
        (b'declare -x PATH="/bin"\n', b'declare -x PATH="/bin"; evil\n'),
        (b'declare -x PATH="/bin"\n', b"declare -x PATH=$(evil)\n"),
        (b"alias l=", b"evil; alias l="),
        (b"declare -f f\n", b""),
        (b"declare -f f\n", b"declare -f f\nevil\n"),
        (b"umask 0022\n", b"umask 0022\nset -o errexit; evil\n"),
        (b"/work\n", b"work\n"),
        (b"end", b"end\0more"),
    ],
)
def test_a_report_with_anything_unexpected_is_refused(part, forged):
    with pytest.raises(Unreadable):
        read(REPORT.replace(part, forged))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(data):
    for report in (data, REPORT.replace(b"v", data, 1), b"/\0" + data + b"\0\0\0\0set +o a\n\0end"):
        try:
            read(report)
        except Unreadable:
            continue


def test_what_two_commands_did_at_the_same_time_is_kept_of_both():
    before = ShellState("/a", {"X": "1", "Y": "1"}, frozenset({"OLD"}), {"v": "declare -- v"})
    first = ShellState("/b", {"X": "2", "Y": "1"}, frozenset({"OLD", "NEW"}), {}, {"l": "alias l='ls'"})
    second = ShellState("/a", {"Y": "1", "Z": "3"}, frozenset(), {"v": "declare -- v", "w": "declare -- w"})
    now = merged(before, before, first)
    assert now == first
    assert merged(now, before, second) == ShellState(
        "/b", {"Y": "1", "Z": "3"}, frozenset({"NEW"}), {"w": "declare -- w"}, {"l": "alias l='ls'"}
    )


def test_long_lists_of_names_are_cut():
    names = frozenset(f"f{number:02}" for number in range(15))
    told = changes(ShellState("/"), ShellState("/", functions=Functions("…", names)))
    assert told == f"functions {', '.join(sorted(names)[:12])} and 3 more"


ALTERED = ShellState(
    "/",
    exported={"LD_PRELOAD": "x.so", "OLDPWD": "/"},
    removed=frozenset({"HOME"}),
    variables={"lower": "declare -- lower", "CDPATH": "declare -- CDPATH"},
    aliases={"ls": "alias ls='rm'", "a{b": "alias a{b='rm'"},
    functions=Functions(
        "…", frozenset({"cat", "everywhere", "command_not_found_handle"}), frozenset({"everywhere"})
    ),
    options=("shopt -s nullglob",),
)
ALWAYS = ("variable CDPATH", "variable HOME", "variable LD_PRELOAD")
REST = ("function command_not_found_handle", "function everywhere", "option shopt -s nullglob")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("true", ()),
        ("ls -la", ("alias ls",)),
        ("true;ls|wc", ("alias ls",)),
        ("lsof", ()),
        ("a{b", ("alias a{b",)),
    ],
)
def test_the_policy_hears_what_gives_a_command_another_meaning(command, named):
    assert ALTERED.altered(command) == (*ALWAYS, *named, *REST)


def test_functions_and_variables_count_where_they_are_named():
    facts = ALTERED.altered("cat $lower")
    assert {"function cat", "variable lower"} <= set(facts)


def test_a_new_shell_alters_nothing():
    assert ShellState("/anywhere").altered("ls; cat x") == ()


def test_a_harmless_command_is_asked_for_in_a_shell_that_gives_it_another_meaning(tmp_path):
    root = str(tmp_path)

    def verdict(*altered: str):
        return judge(Effect("execute", "", command="pwd", cwd=root, altered=altered), "ask", (), (root,))

    assert verdict().decision == "allow"
    assert verdict("alias pwd", "variable PATH").decision == "ask"
    assert "`alias pwd` and 1 more" in verdict("alias pwd", "variable PATH").reason
