"""A worker that does what a call says, for the tests of the connection to it; no litellm.

`{"ask": {"chunks": 3, "then": "end"}}` sends three chunks and then does one of: `end`, `wait` (nothing
more), `babble` (no line of the protocol), `exit` (with code 3). What came in is appended to the file
that the first argument names.
"""

import json
import socket
import sys


def main(log: str) -> None:
    with socket.socket(fileno=0) as channel, channel.makefile("rb") as lines:
        for line in lines:
            with open(log, "ab") as file:  # noqa: PTH123 (as light as can be)
                file.write(line)
            message = json.loads(line)
            if order := message.get("ask"):
                obey(channel, message["id"], order)


def obey(channel: socket.socket, number: int, order: dict[str, object]) -> None:
    chunks = [{"id": number, "chunk": {"n": n}} for n in range(int(str(order.get("chunks", 0))))]
    ends = {"end": json.dumps({"id": number, "end": "whole"}), "babble": "Warning: all is well"}
    out = [*map(json.dumps, chunks), ends.get(str(order["then"]), "")]
    channel.sendall("\n".join(out).rstrip("\n").encode() + b"\n" if any(out) else b"")
    if order["then"] == "exit":
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1])
