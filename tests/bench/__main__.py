"""Prints every measured budget of the design beside its figure; exits 0 whatever they are."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import checkpoints, commands, facts, recall, workspace
from tests.bench.client import Agent, Message, Model, is_chunk

AGENT = [str(Path(sys.executable).with_name("hermes-editor")), "acp"]
FLOOR = [sys.executable, str(Path(__file__).with_name("floor.py"))]
CHUNKS = 10_000
SLOW = "touch slow.txt; sleep 30"
"""A command that has to be asked for, and that takes long."""
TEXT_OF_CHUNK = "word "


class Bench:
    """One run: a model server, a folder, and the rows printed so far."""

    def __init__(self, root: Path) -> None:
        self.model = Model()
        self.root = root
        self.homes = 0
        self.work = root / "work"
        self.work.mkdir()
        (self.work / "file.txt").write_text("a line\n" * 100)

    @contextmanager
    def start(self, command: list[str] = AGENT) -> Iterator[Agent]:
        """A window in a home of its own; its server ends with it."""
        self.homes += 1
        home = self.root / f"home{self.homes}"
        home.mkdir()
        agent = Agent(command, home, self.model)
        try:
            with agent:
                yield agent
        finally:
            agent.stop_server()

    def window(self, home: Path) -> Agent:
        """One more window on the server of this home."""
        return Agent(AGENT, home, self.model)

    def row(self, what: str, figure: str, budget: str = "") -> None:
        print(f"{what:<58} {figure:>22}   {budget}", flush=True)

    def times(self, what: str, seconds: list[float], budget: str = "") -> float:
        median, top = statistics.median(seconds) * 1e3, sorted(seconds)[int(0.95 * len(seconds))] * 1e3
        self.row(what, f"{median:.2f} (p95 {top:.2f}) ms", budget)
        return median


def start_up(bench: Bench) -> None:
    walls, cpus, cold = [], [], []
    for _ in range(5):
        with bench.start() as agent:
            agent.call("initialize", protocolVersion=1)
            walls.append(time.monotonic() - agent.started)
            cpus.append(agent.cpu())
            agent.new(bench.work)
            cold.append(agent.cpu())
    bench.times("no server yet: start → initialize answered, wall", walls, "best peer 290 ms")
    bench.times("no server yet: start → initialize answered, CPU", cpus)
    bench.times("no server yet: start → first session, CPU", cold, "≤ 250 ms")
    floor = []
    for _ in range(5):
        with bench.start(FLOOR) as agent:
            agent.call("initialize", protocolVersion=1)
            floor.append(time.monotonic() - agent.started)
    bench.times("  floor: start → initialize answered, wall", floor)


def second_windows(bench: Bench, first: Agent) -> None:
    walls, cpus, sizes = [], [], []
    for _ in range(10):
        with bench.window(first.home) as agent:
            agent.call("initialize", protocolVersion=1)
            walls.append(time.monotonic() - agent.started)
            cpus.append(agent.own_cpu())
            sizes.append(agent.own_memory())
    bench.times("server running: start → initialize answered, wall", walls, "best peer 233 ms")
    bench.times("server running: CPU of the window's process", cpus, "≤ 40 ms")
    bench.row("server running: memory of the window's process", f"{max(sizes):.1f} MiB", "≤ 12 MiB")


def sessions(bench: Bench, agent: Agent) -> None:
    took = [agent.call("session/new", cwd=str(bench.work), mcpServers=[])[0] for _ in range(40)]
    bench.times("session/new, warm", took[5:], "≤ 5 ms")
    # They all look at their repository soon after; what follows is measured without that.
    time.sleep(2)


def turns(bench: Bench, agent: Agent, session: str) -> None:
    to_model, to_client = [], []
    for number in range(40):
        began = time.monotonic()
        asked = agent.prompt(session, chunks=1, number=number)
        to_model.append(bench.model.next("at") - began)
        sent = bench.model.next("chunk")
        at, _ = agent.until(is_chunk)
        to_client.append(at - sent)
        agent.until(agent.answered(asked))
    bench.times("prompt → model request, warm", to_model[5:], "≤ 4 ms")
    bench.times("model's first chunk → client's first chunk", to_client[5:], "≤ 0.8 ms p50")


def streaming(bench: Bench, agent: Agent, session: str, label: str, budget: str) -> float:
    rates, cpus = [], []
    for _ in range(3):
        cpu = agent.cpu()
        asked = agent.prompt(session, chunks=CHUNKS)
        began, message = agent.until(is_chunk)
        text = [message["params"]["update"]["content"]["text"]]
        while True:
            at, message = agent.next()
            if is_chunk(message):
                text.append(message["params"]["update"]["content"]["text"])
            if agent.answered(asked)(message):
                break
        assert "".join(text) == TEXT_OF_CHUNK * CHUNKS, "the streamed text is not exact"
        rates.append(CHUNKS / (at - began))
        cpus.append(agent.cpu() - cpu)
    bench.row(f"{label}{CHUNKS:,} chunks", f"{statistics.median(rates):,.0f} /s", budget)
    bench.row(f"{label}CPU for them", f"{statistics.median(cpus):.2f} s", "≤ 0.5 s" if budget else "")
    return statistics.median(rates)


def tools(bench: Bench, agent: Agent, session: str) -> None:
    cases: list[tuple[str, str, Callable[[int], Message], str]] = [
        ("read", "read_file", lambda _: {"path": "file.txt"}, "≤ 3 ms"),
        ("write", "write_file", lambda n: {"path": "out.txt", "content": f"{n}\n"}, "≤ 6 ms"),
        ("command", "run_command", lambda n: {"command": f"true {n}"}, "≤ 8 ms"),
    ]
    for label, tool, arguments, budget in cases:
        took = []
        for number in range(25):
            asked = agent.prompt(session, tool=tool, arguments=arguments(number))
            bench.model.next("at")
            answered = bench.model.next("answered")
            seen = []
            agent.until(lambda item, asked=asked, seen=seen: seen.append(item) or agent.answered(asked)(item))
            took.append(bench.model.next("at") - answered)
        bench.times(f"tool round trip: {label}", took[3:], budget)


def cancels(bench: Bench, agent: Agent, session: str) -> None:
    waiting: list[tuple[str, Message, Callable[[Message], bool]]] = [
        ("streaming", {"stall": True}, is_chunk),
        ("permission open", {"tool": "run_command", "arguments": {"command": SLOW}}, _asks),
        ("tool running", {"tool": "run_command", "arguments": {"command": SLOW}}, _runs),
    ]
    for label, wish, ready in waiting:
        took = []
        for _ in range(8):
            asked = agent.prompt(session, **wish)
            agent.until(ready)
            began = time.monotonic()
            agent.send(method="session/cancel", params={"sessionId": session})
            at, answer = agent.until(agent.answered(asked))
            assert answer["result"]["stopReason"] == "cancelled", answer
            took.append(at - began)
        bench.times(f"cancel, {label}", took, "≤ 100 ms")


def _asks(message: Message) -> bool:
    return message.get("method") == "session/request_permission"


def _runs(message: Message) -> bool:
    return message.get("params", {}).get("update", {}).get("status") == "in_progress"


def paced(bench: Bench, agent: Agent) -> None:
    sessions = [agent.new(bench.work) for _ in range(10)]
    time.sleep(2)
    asked = {agent.prompt(session, chunks=100, pace=0.02) for session in sessions}
    late = []
    while asked:
        at, message = agent.next()
        if is_chunk(message):
            late += [at - float(word) for word in message["params"]["update"]["content"]["text"].split()]
        asked.discard(message.get("id", -1) if "method" not in message else -1)
    late.sort()
    p50, p95 = late[len(late) // 2] * 1e3, late[int(0.95 * len(late))] * 1e3
    bench.row("ten paced sessions, latency of a chunk", f"p50 {p50:.2f}, p95 {p95:.2f} ms", "p95 ≤ 0.7 ms")


def crowd(bench: Bench) -> None:
    """Several windows and many sessions on one server."""
    with bench.start() as first:
        others = [bench.window(first.home) for _ in range(3)]
        windows = [first, *others]
        opened = [(window, window.open(bench.work)) for window in windows]
        opened += [(first, first.new(bench.work)) for _ in range(6)]
        _prompt_all(opened)
        bench.row("memory (Pss): 4 windows, 10 sessions", f"{_in_all(windows):.0f} MiB")
        _switch(opened[0], "litellm/openai/bench")
        _prompt_all(opened[:1])
        bench.row("memory (Pss): the same, litellm loaded beside", f"{_in_all(windows):.0f} MiB", "≤ 200 MiB")
        _switch(opened[0], "openai/bench")
        opened += [(first, first.new(bench.work)) for _ in range(90)]
        _prompt_all(opened[10:])
        bench.row("memory (Pss): the same with 100 sessions", f"{_in_all(windows):.0f} MiB", "≤ 350 MiB")
        _list_while_busy(bench, others[0], opened)
        stall = first.status()["server"]["longestStall"] * 1e3
        bench.row("longest stall of the event loop", f"{stall:.0f} ms", "≤ 50 ms")
        for window in others:
            window.leave()


def _in_all(windows: list[Agent]) -> float:
    return windows[0].memory() + sum(window.own_share() for window in windows)


def _switch(opened: tuple[Agent, str], model: str) -> None:
    window, session = opened
    said = [{"type": "text", "text": f"/model {model}"}]
    window.until(window.answered(window.ask("session/prompt", sessionId=session, prompt=said)))


def _prompt_all(opened: list[tuple[Agent, str]]) -> None:
    for window, session in opened:
        window.until(window.answered(window.prompt(session, chunks=10)))


def _list_while_busy(bench: Bench, window: Agent, opened: list[tuple[Agent, str]]) -> None:
    asked = [(owner, owner.prompt(session, chunks=100, pace=0.05)) for owner, session in opened]
    took = [window.call("session/list")[0] for _ in range(60)]
    bench.times("session/list while 100 turns run", took, "p95 ≤ 50 ms")
    for owner, number in asked:
        owner.wait_for(number)


def long_session(bench: Bench, agent: Agent) -> None:
    session = agent.new(bench.work)
    took = []
    for number in range(1000):
        began = time.monotonic()
        asked = agent.prompt(session, chunks=2, number=number)
        ended, _ = agent.until(agent.answered(asked))
        thought = -bench.model.next("at") + bench.model.next("chunk")
        took.append(ended - began - thought)
        if number + 1 in (200, 1000):
            budget = "≤ 20 ms" if number + 1 == 200 else "≤ 80 ms"
            load = [_load(bench, agent, session) for _ in range(3)]
            bench.times(f"load a session of {number + 1} turns", load, budget)
    first, last = statistics.median(took[5:55]), statistics.median(took[-50:])
    figure = f"{last / first:.2f} × ({first * 1e3:.1f} ms)"
    bench.row("turn near the 1,000th over the first", figure, "≤ 1.3 ×")


def _load(bench: Bench, agent: Agent, session: str) -> float:
    agent.call("session/close", sessionId=session)
    return agent.call("session/load", sessionId=session, cwd=str(bench.work), mcpServers=[])[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        print(f"{'what':<58} {'median':>22}   budget (DESIGN 11)")
        start_up(bench)
        with bench.start() as agent:
            session = agent.open(bench.work)
            agent.until(agent.answered(agent.prompt(session, chunks=1)))
            bench.row("first model request", f"{bench.model.next('bytes') / 1000:.1f} kB", "≤ 14 kB")
            second_windows(bench, agent)
            sessions(bench, agent)
            turns(bench, agent, session)
            rate = streaming(bench, agent, session, "streaming ", "≥ 20,000 /s")
            with bench.start(FLOOR) as floor:
                at_floor = streaming(bench, floor, floor.open(bench.work), "  floor: streaming ", "")
            bench.row("  ratio to the floor's rate", f"{rate / at_floor:.2f} ×")
            tools(bench, agent, session)
            cancels(bench, agent, session)
            paced(bench, agent)
            before = agent.memory()
            long_session(bench, agent)
            bench.row("memory before and after 1,000 turns more", f"{before:.0f}, {agent.memory():.0f} MiB")
        crowd(bench)
        facts.measure(bench.model, _folder(bench, "facts"), bench.row)
        bench.model.close()
        commands.commands(bench, _folder(bench, "commands"))
        workspace.worktrees(bench, _folder(bench, "worktrees"))
        checkpoints.checkpoints(bench, _folder(bench, "checkpoints"))
        recall.measure(_folder(bench, "recall"), bench.row)


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.root / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
