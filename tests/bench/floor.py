"""The floor: an agent of the standard library alone that only streams, to compare with."""

from __future__ import annotations

import http.client
import json
import os
import sys
from urllib.parse import urlsplit


def send(message: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def stream(connection: http.client.HTTPConnection, text: str) -> None:
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    while line := answer.readline():
        if line.startswith(b"data: {"):
            delta = json.loads(line[6:])["choices"][0]["delta"].get("content")
            if delta:
                update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": delta}}
                send({"method": "session/update", "params": {"sessionId": "s", "update": update}})
                sys.stdout.buffer.flush()


def main() -> None:
    host = urlsplit(os.environ["HERMES_EDITOR_MODEL_BASE_URL"]).netloc
    connection = http.client.HTTPConnection(host)
    results: dict[str, dict[str, object]] = {
        "initialize": {"protocolVersion": 1},
        "session/new": {"sessionId": "s"},
        "session/prompt": {"stopReason": "end_turn"},
    }
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["method"] == "session/prompt":
            stream(connection, message["params"]["prompt"][0]["text"])
        send({"id": message["id"], "result": results[message["method"]]})
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
