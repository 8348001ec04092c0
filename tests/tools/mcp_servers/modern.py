"""An MCP server over stdio that speaks only protocol 2026-07-28."""

import json
import sys

VERSION = "2026-07-28"
HINTS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
tools = ["ask"]
listener = None


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(identity, params):
    answers = params.get("inputResponses")
    if answers is None:
        form = {"type": "object", "properties": {"name": {"type": "string"}}}
        question = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": form}}
        send(
            id=identity,
            result={"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"},
        )
        return
    tools.append("late")
    meta = {"io.modelcontextprotocol/subscriptionId": listener}
    send(method="notifications/tools/list_changed", params={"_meta": meta})
    said = json.dumps([answers["q"], params["requestState"]])
    send(id=identity, result={"content": [{"type": "text", "text": said}], "resultType": "complete"})


for line in sys.stdin:
    message = json.loads(line)
    identity, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    match method:
        case "initialize":
            send(
                id=identity,
                error={
                    "code": -32022,
                    "message": "too old",
                    "data": {"supported": [VERSION], "requested": "x"},
                },
            )
        case "server/discover":
            send(
                id=identity,
                result={
                    "supportedVersions": [VERSION],
                    "capabilities": {"tools": {"listChanged": True}},
                    **HINTS,
                },
            )
        case "tools/list":
            listed = [{"name": name, "inputSchema": {"type": "object"}} for name in tools]
            send(id=identity, result={"tools": listed, **HINTS})
        case "tools/call":
            call(identity, params)
        case "subscriptions/listen":
            listener = identity
            meta = {"io.modelcontextprotocol/subscriptionId": identity}
            accepted = {"_meta": meta, "notifications": {"toolsListChanged": True}}
            send(method="notifications/subscriptions/acknowledged", params=accepted)
