"""`hermes-editor server` with real servers, and the files that it writes for systemd and launchd."""

from __future__ import annotations

import argparse
import json
import plistlib
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp import __version__, config, endpoint
from hermes_acp.cli import server, server_install
from hermes_acp.endpoint import Hello
from tests.acp import script
from tests.windows import PROGRAM, Home, home, until

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home") as found:
        found.root.mkdir()
        yield found


def run(place: Home, *words: str) -> int:
    """The command in this process."""
    parser = argparse.ArgumentParser()
    server.register(parser.add_subparsers())
    return server.run(parser.parse_args(["server", *words]), place.env)


class Turn:
    """A window with a turn that works until it is cancelled."""

    def __init__(self, place: Home) -> None:
        play = place.root / "script.jsonl"
        script.write(play, {"go": [script.calls("run_command", command="sleep 100"), script.says("Done.")]})
        self.window = place.window(HERMES_EDITOR_MODEL=f"scripted/{play}")
        self.window.initialize()
        self._session = self.window.call("session/new", cwd=str(place.root), mcpServers=[])["sessionId"]
        prompt = [{"type": "text", "text": "go"}]
        self._asked = self.window.ask("session/prompt", sessionId=self._session, prompt=prompt)
        while b'"in_progress"' not in self.window.read_line():
            pass

    def end(self) -> str:
        """Cancel it: why it says that it stopped."""
        self.window.tell("session/cancel", sessionId=self._session)
        return self.window.answer(self._asked)["result"]["stopReason"]


# --- status --------------------------------------------------------------------------------------


def test_without_a_server_the_status_says_so_and_starts_none(place: Home, capsys: Captured) -> None:
    assert run(place, "status") == 3
    assert capsys.readouterr().out.startswith("No server runs for")
    assert run(place, "status", "--json") == 3
    where = {"data": place.folders.data, "log": place.folders.log}
    assert json.loads(capsys.readouterr().out) == {"running": False, **where}
    assert place.servers() == []


def test_the_status_shows_windows_and_work(place: Home, capsys: Captured) -> None:
    pid = place.start_server()
    turn = Turn(place)
    place.window("lsp", cwd="/")
    until(lambda: run(place, "status") == 0 and "windows        2" in capsys.readouterr().out, "two windows")
    assert run(place, "status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["running"] is True
    found = status["server"]
    assert {name: found[name] for name in ("pid", "version", "sessions", "running")} == {
        "pid": pid,
        "version": __version__,
        "sessions": 1,
        "running": 1,
    }
    shown = sorted((item["protocol"], item["cwd"]) for item in found["windows"])
    assert shown == [("acp", str(place.root)), ("lsp", "/")]
    assert turn.window.process.pid in [item["pid"] for item in found["windows"]]
    assert 20 * 2**20 < found["memory"] < 500 * 2**20 and found["longestStall"] > 0
    assert run(place, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"server         process {pid}, version {__version__}"
    assert "sessions       1 in memory, 1 at work" in lines
    assert f"log            {place.folders.log}" in lines


# --- stop and restart ----------------------------------------------------------------------------


def test_a_stop_without_a_server_is_done_at_once(place: Home, capsys: Captured) -> None:
    assert run(place, "stop") == 0
    assert capsys.readouterr().out == "No server runs.\n"


def test_a_stop_waits_until_the_server_is_gone(place: Home, capsys: Captured) -> None:
    pid = place.start_server()
    window = place.window()
    window.initialize()
    assert run(place, "stop") == 0
    assert place.servers() == []
    assert capsys.readouterr().out == f"The server (process {pid}) has ended.\n"
    assert window.ended()[0] == 69


def test_a_turn_is_not_cut_off_unless_that_is_said(place: Home, capsys: Captured) -> None:
    pid = place.start_server()
    Turn(place)
    assert run(place, "stop") == 1
    assert capsys.readouterr().err == (
        "hermes-editor: 1 turn would be cut off, so the server goes on. "
        "Let them end first (--wait), or cancel them (--force).\n"
    )
    assert run(place, "restart") == 1
    assert place.servers() == [pid]
    capsys.readouterr()
    assert run(place, "stop", "--force") == 0
    assert capsys.readouterr().out == f"The server (process {pid}) has ended. It cancelled 1 turn.\n"
    assert place.servers() == []


def test_a_stop_may_wait_for_the_turn_while_new_windows_get_a_new_server(place: Home) -> None:
    pid = place.start_server()
    turn = Turn(place)
    command = (*server_command(), "stop", "--wait")
    stopping = subprocess.Popen(command, env=place.env, stdout=subprocess.PIPE, text=True)
    assert stopping.stdout is not None
    assert stopping.stdout.readline() == "Waiting for 1 turn; new windows get a new server.\n"
    until(lambda: run(place, "status") == 3, "the old server to give its place away")
    assert place.window().initialize()["agentInfo"]["version"] == __version__
    assert len(place.servers()) == 2
    assert turn.end() == "cancelled"
    assert stopping.communicate()[0] == f"The server (process {pid}) has ended.\n"
    assert stopping.returncode == 0
    assert turn.window.ended()[0] == 69
    assert len(place.servers()) == 1


def test_a_newer_program_gets_a_server_of_its_own_while_the_old_one_ends_its_turn(place: Home) -> None:
    pid = place.start_server()
    turn = Turn(place)
    connection = endpoint.connect(place.folders)
    assert connection is not None
    newer = Hello("acp", "99.0.0", "/", place.folders.data, ["acp"], {})
    assert endpoint.greet(connection, newer) is None
    until(lambda: endpoint.connect(place.folders) is None, "the old server to give its place away")
    assert place.window().initialize()["protocolVersion"] == 1
    assert sorted(place.servers())[:1] == [pid] and len(place.servers()) == 2
    assert turn.end() == "cancelled"
    assert turn.window.ended()[0] == 69
    until(lambda: pid not in place.servers(), "the end of the old server")
    assert len(place.servers()) == 1


def test_a_restart_starts_a_new_server_also_when_none_ran(place: Home, capsys: Captured) -> None:
    assert run(place, "restart") == 0
    (first,) = place.servers()
    assert run(place, "restart") == 0
    (second,) = place.servers()
    assert first != second
    assert capsys.readouterr().out == (
        f"No server runs.\nA new server runs (process {first}).\n"
        f"The server (process {first}) has ended.\nA new server runs (process {second}).\n"
    )


def test_a_second_server_in_the_foreground_is_refused(place: Home) -> None:
    pid = place.start_server()
    done = place.run("server", "run")
    said = f"hermes-editor: A server runs already (process {pid}); `hermes-editor server stop` ends it.\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_server_in_the_foreground_ends_with_a_signal(place: Home) -> None:
    process = subprocess.Popen((*server_command(), "run"), env=place.env, stderr=subprocess.PIPE)
    until(lambda: run(place, "status") == 0, "the server")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (0, 143)
    assert not list(place.root.glob("runtime/*.sock"))


def test_a_place_that_cannot_be_trusted_is_an_error_and_no_traceback(place: Home, capsys: Captured) -> None:
    (place.root / "runtime").write_text("")
    for action in ("status", "stop", "restart"):
        assert run(place, action) == 1
        assert "is a link or a file" in capsys.readouterr().err


def server_command() -> tuple[str, ...]:
    return (*PROGRAM, "server")


# --- logs ----------------------------------------------------------------------------------------


def test_the_last_lines_of_the_log_are_shown(place: Home, capsys: Captured) -> None:
    assert run(place, "logs") == 1
    assert capsys.readouterr().err.startswith("There is no log yet")
    log = Path(place.folders.log)
    log.parent.mkdir()
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)) + b"\xff half")
    assert run(place, "logs", "-n", "2") == 0
    assert capsys.readouterr().out == "line 99\n\ufffd half"
    assert run(place, "logs") == 0
    assert len(capsys.readouterr().out.splitlines()) == 50
    assert run(place, "logs", "-n", "0") == 0
    assert capsys.readouterr().out == ""
    assert run(place, "logs", "-n", "-1") == 1


def test_the_log_is_followed_into_its_successor(place: Home) -> None:
    log = Path(place.folders.log)
    log.parent.mkdir()
    log.write_text("first\n")
    following = subprocess.Popen(
        (*server_command(), "logs", "-f"), env=place.env, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None
    assert following.stdout.readline() == "first\n"
    with log.open("a") as file:
        file.write("second\n")
    assert following.stdout.readline() == "second\n"
    log.rename(f"{log}.1")
    log.write_text("third\n")
    assert following.stdout.readline() == "third\n"
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130
    following.stdout.close()


# --- install -------------------------------------------------------------------------------------


def unit_of(place: Home) -> Path:
    return place.root / ".config" / "systemd" / "user" / "hermes-editor.service"


on_linux = pytest.mark.skipif(config.is_macos(), reason="systemd is not for this system")


@on_linux
def test_the_unit_is_written_once_and_changed_when_it_has_to_be(place: Home, capsys: Captured) -> None:
    assert run(place, "install") == 0
    file = unit_of(place)
    assert capsys.readouterr().out == (
        f"{file} is written. Next:\n"
        "systemctl --user daemon-reload && systemctl --user enable --now hermes-editor\n"
    )
    before = file.stat().st_ino
    assert run(place, "install") == 0
    assert "is up to date" in capsys.readouterr().out
    assert file.stat().st_ino == before
    place.env["PATH"] += ":/opt/bin"
    assert run(place, "install") == 0
    assert "is written" in capsys.readouterr().out
    assert ":/opt/bin" in file.read_text()
    assert Path(place.folders.state).is_dir(), "systemd does not make the folder of the log"


@on_linux
def test_the_unit_is_printed_without_a_trace(place: Home, capsys: Captured) -> None:
    assert run(place, "install", "--print") == 0
    assert capsys.readouterr().out.startswith("# Written by `hermes-editor server install`")
    assert list(place.root.iterdir()) == []


@on_linux
def test_a_file_of_somebody_else_is_left_alone(place: Home, capsys: Captured) -> None:
    unit_of(place).parent.mkdir(parents=True)
    unit_of(place).write_text("[Service]\n")
    assert (run(place, "install"), run(place, "uninstall")) == (1, 1)
    assert unit_of(place).read_text() == "[Service]\n"
    assert capsys.readouterr().err.count("is not from hermes-editor") == 2


@on_linux
def test_the_unit_is_removed_unless_it_is_in_use(place: Home, capsys: Captured) -> None:
    assert run(place, "uninstall") == 0
    assert run(place, "install") == 0
    wanted = unit_of(place).parent / "default.target.wants" / "hermes-editor.service"
    wanted.parent.mkdir()
    wanted.symlink_to(unit_of(place))
    assert run(place, "uninstall") == 1
    assert "First: systemctl --user disable --now hermes-editor" in capsys.readouterr().err
    wanted.unlink()
    assert run(place, "uninstall") == 0
    assert not unit_of(place).exists()


def test_the_unit_of_systemd_keeps_odd_paths_whole() -> None:
    command = ('/odd $ 100%/a"b\\c/hermes-editor', "server", "run")
    text = server_install.systemd(command, {"PATH": "/bin:/a b%", "MARK": "$x"}, "/state %/server.log")
    assert text.splitlines()[6:] == [
        r'ExecStart="/odd $$ 100%%/a\"b\\c/hermes-editor" "server" "run"',
        'Environment="PATH=/bin:/a b%%"',
        'Environment="MARK=$x"',
        "StandardOutput=append:/state %%/server.log",
        "StandardError=inherit",
        "Restart=on-failure",
        "RestartPreventExitStatus=1",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "hermes-editor.service"
    file.write_text(server_install.systemd(("/bin/true", "run"), {"A": "b c"}, "/tmp/a log"))
    done = subprocess.run(
        ("systemd-analyze", "--user", "verify", str(file)), capture_output=True, text=True, check=False
    )
    assert [row for row in done.stderr.splitlines() if file.name in row] == []


def test_the_agent_of_launchd_says_what_to_run() -> None:
    text = server_install.launchd(
        ("/a <b>/hermes-editor", "server", "run"), {"PATH": "/bin"}, "/state/server.log"
    )
    assert server_install.MARK in text
    assert plistlib.loads(text.encode()) == {
        "Label": "hermes-editor",
        "ProgramArguments": ["/a <b>/hermes-editor", "server", "run"],
        "EnvironmentVariables": {"PATH": "/bin"},
        "RunAtLoad": True,
        "KeepAlive": {"Crashed": True},
        "StandardOutPath": "/state/server.log",
        "StandardErrorPath": "/state/server.log",
    }


def test_both_units_start_this_installation_and_find_its_folders(place: Home) -> None:
    place.env |= {"XDG_RUNTIME_DIR": "/run/user/1", "OPENAI_API_KEY": "secret"}
    linux = server_install.unit_of("systemd", place.env)
    mac = server_install.unit_of("launchd", place.env)
    entries = plistlib.loads(mac.text.encode())
    assert mac.file == place.root / "Library" / "LaunchAgents" / "hermes-editor.plist"
    assert entries["EnvironmentVariables"] == {
        "PATH": place.env["PATH"],
        "HERMES_EDITOR_HOME": str(place.root),
        "HERMES_EDITOR_SERVER_IDLE": "inf",
        "XDG_RUNTIME_DIR": "/run/user/1",
    }
    assert Path(entries["ProgramArguments"][0]).is_absolute()
    assert entries["ProgramArguments"][-2:] == ["server", "run"]
    assert "XDG_RUNTIME_DIR" not in linux.text and "secret" not in linux.text + mac.text
    (start,) = [row for row in linux.text.splitlines() if row.startswith("ExecStart=")]
    assert shlex.split(start.partition("=")[2]) == entries["ProgramArguments"]
