"""An MCP server over stdio in plain Python: fast to start, and able to misbehave in every way.

usage: plain.py [--mute | --garbage | --exit | --once | --pages | --broken | --many] [--log FILE]
"""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

LOG = Path(sys.argv[sys.argv.index("--log") + 1] if "--log" in sys.argv else os.devnull)
PIXEL = base64.b64encode(b"\x89PNG not really").decode()
OBJECT = {"type": "object", "properties": {}}
grown = []


def log(text):
    with LOG.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def receive():
    line = sys.stdin.readline()
    if not line:
        log("stdin closed")
        sys.exit(0)
    return json.loads(line)


def ask_client(method, params):
    send(id="from-server", method=method, params=params)
    while True:
        message = receive()
        if message.get("id") == "from-server":
            return message.get("result") or {"error": message.get("error")}
        note(message)


def note(message):
    if message.get("method") == "notifications/cancelled":
        log(f"cancelled {message['params']['requestId']}")


def text(value, **more):
    return {
        "content": [{"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}],
        **more,
    }


def tool(name, **more):
    return {"name": name, "description": f"about {name}", "inputSchema": OBJECT, **more}


def listing(cursor):
    tools = [tool(name) for name in HANDLERS if name != "grown" or grown]
    tools[0]["annotations"] = {"readOnlyHint": True, "title": "Say it again"}
    tools[0]["inputSchema"] = {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    }
    if "--broken" in sys.argv:
        tools = [
            tool("good", outputSchema={"type": "object", "properties": {"n": {"type": "integer"}}}),
            {"name": "listy", "inputSchema": {"type": "array"}},
            {"name": "bare"},
            "no tool at all",
            tool("large", inputSchema={"type": "object", "properties": {"a": {"description": "x" * 40_000}}}),
        ]
    if "--many" in sys.argv:
        tools = [tool(f"t{number}") for number in range(100)]
    if "--pages" in sys.argv:
        page = int(cursor or 0)
        return {"tools": [tool(f"page{page}")], **({"nextCursor": str(page + 1)} if page < 2 else {})}
    return {"tools": tools}


def facts(arguments, params):
    env = dict(os.environ)
    return text({"env": env, "cwd": str(Path.cwd()), "args": sys.argv[1:], "pid": os.getpid()})


def child(arguments, params):
    process = subprocess.Popen(["sleep", "1000"])
    return text({"child": process.pid, "pid": os.getpid()})


def progress(arguments, params):
    token = params["_meta"]["progressToken"]
    for number in (1, 2):
        send(
            method="notifications/progress",
            params={"progressToken": token, "progress": number, "total": 2, "message": "going"},
        )
    return text("done")


def ask(arguments, params):
    form = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "title": "Name"},
            "age": {"type": "integer"},
            "sure": {"type": "boolean"},
            "colour": {
                "type": "string",
                "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}],
            },
            "sizes": {"type": "array", "items": {"type": "string", "enum": ["S", "M"]}},
        },
        "required": ["name"],
    }
    return text(ask_client("elicitation/create", {"message": "Who?", "requestedSchema": form}))


def everything(arguments, params):
    return {
        "content": [
            {"type": "text", "text": "hello"},
            {"type": "image", "data": PIXEL, "mimeType": "image/png"},
            {"type": "image", "data": PIXEL, "mimeType": "image/svg+xml"},
            {"type": "audio", "data": PIXEL, "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "file:///a.txt", "name": "a.txt"},
            {"type": "resource", "resource": {"uri": "mem://1", "text": "inside"}},
            {
                "type": "resource",
                "resource": {"uri": "mem://2", "blob": PIXEL, "mimeType": "application/zip"},
            },
        ]
    }


def grow(arguments, params):
    grown.append(True)
    send(method="notifications/tools/list_changed")
    return text("grown")


def garbage(arguments, params):
    sys.stdout.write("Traceback: {not json\n[1,2,3]\n\xff\n\n")
    return text("after garbage")


def flood(arguments, params):
    for _ in range(1000):
        sys.stdout.write("this is a log line\n")
    return text("too late")


def stubborn(arguments, params):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log("ignoring SIGTERM")
    while True:
        signal.pause()


HANDLERS = {
    "echo": lambda arguments, params: text(arguments["text"]),
    "facts": facts,
    "child": child,
    "crash": lambda arguments, params: os._exit(3),
    "hang": lambda arguments, params: log("hanging"),
    "progress": progress,
    "ask": ask,
    "roots": lambda arguments, params: text(ask_client("roots/list", {})),
    "sample": lambda arguments, params: text(
        ask_client("sampling/createMessage", {"messages": [], "maxTokens": 1})
    ),
    "everything": everything,
    "data": lambda arguments, params: {"content": [], "structuredContent": {"n": 1}},
    "nothing": lambda arguments, params: {"content": []},
    "fail": lambda arguments, params: text("it broke", isError=True),
    "wrong": lambda arguments, params: {"content": "no list"},
    "long": lambda arguments, params: text("x" * 100_000),
    "huge": lambda arguments, params: text("x" * 5_000_000),
    "grow": grow,
    "grown": lambda arguments, params: text("big now"),
    "garbage": garbage,
    "flood": flood,
    "stubborn": stubborn,
}


def answer(message):
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        log(f"started {os.getpid()}")
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "plain", "version": "1"},
        }
    if method == "tools/list":
        return listing(params.get("cursor"))
    if method == "tools/call":
        return HANDLERS[params["name"]](params.get("arguments") or {}, params)
    return None


def main():
    print("a line on stderr", file=sys.stderr, flush=True)
    if "--exit" in sys.argv:
        sys.exit("no configuration found")
    if "--garbage" in sys.argv:
        while True:
            sys.stdout.write("not a message\n")
            sys.stdout.flush()
    if "--once" in sys.argv and LOG.exists():
        sys.exit("only once")
    while True:
        message = receive()
        note(message)
        if "--mute" in sys.argv or "method" not in message or "id" not in message:
            continue
        result = answer(message)
        if result is None and message["params"].get("name") == "hang":
            continue
        if result is None:
            send(id=message["id"], error={"code": -32601, "message": "unknown method"})
        else:
            send(id=message["id"], result=result)


main()
