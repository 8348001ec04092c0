"""A client for measuring: blocking reads, each line stamped when it arrives."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

Message = dict[str, Any]


class Model:
    """The model server in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("model.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reports: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.next('port')}/v1"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.reports.put(json.loads(line))

    def next(self, member: str) -> Any:
        """The next report that has this member."""
        while True:
            fields = self.reports.get(timeout=60)
            if member in fields:
                return fields[member]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Agent:
    """A started agent and the lines it wrote."""

    def __init__(self, command: list[str], home: Path, model: Model) -> None:
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HERMES_EDITOR_HOME": str(home),
            "HERMES_EDITOR_MODEL": "openai/bench",
            "HERMES_EDITOR_MODEL_BASE_URL": model.url,
            "HERMES_EDITOR_MODE": "accept_edits",
        }
        self.home = home
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env)
        self.lines: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._ids = 0
        self._answered: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the input and wait for the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((time.monotonic(), line))

    def send(self, **message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: object) -> int:
        self._ids += 1
        self.send(id=self._ids, method=method, params=params)
        return self._ids

    def next(self) -> tuple[float, Message]:
        at, line = self.lines.get(timeout=60)
        message = json.loads(line)
        if "method" not in message:
            self._answered.add(message["id"])
        return at, message

    def wait_for(self, number: int) -> None:
        """Read until this request is answered, unless it has been."""
        while number not in self._answered:
            self.next()

    def status(self) -> Message:
        """What `hermes-editor server status` says."""
        command = [sys.executable, "-m", "hermes_acp", "server", "status", "--json"]
        said = subprocess.run(command, env=self.env, capture_output=True, check=True)
        return dict(json.loads(said.stdout))

    def until(self, wanted: Any) -> tuple[float, Message]:
        """The first message for which `wanted` holds; permission requests are allowed."""
        while True:
            at, message = self.next()
            if message.get("method") == "session/request_permission" and not wanted(message):
                self.allow(message)
            if wanted(message):
                return at, message

    def allow(self, message: Message) -> None:
        result = {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
        self.send(id=message["id"], result=result)

    def call(self, method: str, **params: object) -> tuple[float, Message]:
        """Ask and wait: the seconds it took, and the answer."""
        began = time.monotonic()
        number = self.ask(method, **params)
        at, message = self.until(lambda item: item.get("id") == number and "method" not in item)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return at - began, message

    def prompt(self, session: str, **wish: object) -> int:
        text = json.dumps(wish)
        return self.ask("session/prompt", sessionId=session, prompt=[{"type": "text", "text": text}])

    def open(self, cwd: Path) -> str:
        self.call("initialize", protocolVersion=1)
        return str(self.new(cwd))

    def new(self, cwd: Path) -> str:
        _, answer = self.call("session/new", cwd=str(cwd), mcpServers=[])
        return str(answer["result"]["sessionId"])

    def answered(self, number: int) -> Any:
        return lambda message: message.get("id") == number and "method" not in message

    @property
    def server(self) -> int | None:
        """The process of the shared server that this window talks with; None for a floor."""
        locks = list(self.home.glob("runtime/server-*.lock"))
        return int(locks[0].read_text()) if locks else None

    def cpu(self) -> float:
        """Seconds of CPU so far, the server's included."""
        return self.own_cpu() + (_cpu(self.server) if self.server else 0.0)

    def own_cpu(self) -> float:
        """Seconds of CPU of the started process alone."""
        return _cpu(self.process.pid)

    def own_memory(self) -> float:
        """Resident MiB of the started process alone."""
        return memory(self.process.pid)

    def own_share(self) -> float:
        """MiB of the started process alone; of pages that several processes use, its share."""
        return share(self.process.pid)

    def memory(self) -> float:
        """MiB of the server and what it has started; pages that several processes use count once in all."""
        assert self.server is not None
        return sum(share(pid) for pid in (self.server, *_children(self.server)))

    def stop_server(self) -> None:
        """End the shared server, as at the end of the day."""
        if (server := self.server) is not None:
            os.kill(server, signal.SIGTERM)
            while Path(f"/proc/{server}").exists():
                time.sleep(0.01)


def _cpu(pid: int) -> float:
    """In nanoseconds where the kernel tells, which the ticks of `stat` are too coarse for."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(word) for file in found for word in file.read_text().split()]
    return direct + [below for child in direct for below in _children(child)]


def memory(pid: int) -> float:
    """Resident MiB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def share(pid: int) -> float:
    """MiB of a process, its share of pages that others use, too (`Pss`)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("Pss:")[1].split()[0]) / 1024


def is_chunk(message: Message) -> bool:
    update = message.get("params", {}).get("update", {})
    return update.get("sessionUpdate") == "agent_message_chunk"
