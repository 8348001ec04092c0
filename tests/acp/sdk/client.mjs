// Drives the official TypeScript client against the command in the arguments.
//
// One JSON record a line: calls, notifications and answers come in on standard input; results,
// updates and the agent's requests go out on standard output. The end of the input is passed on.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";

import * as acp from "@agentclientprotocol/sdk";

const [command, ...args] = process.argv.slice(2);
const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
const ended = new Promise((resolve) => agent.on("exit", (code) => resolve(code ?? -1)));
void ended.then((code) => print({ record: "exit", code }));
const asked = new Map();
let questions = 0;

function print(record) {
  process.stdout.write(JSON.stringify(record) + "\n");
}

function forward(method) {
  return ({ params, signal }) =>
    new Promise((resolve, reject) => {
      const id = ++questions;
      asked.set(id, { resolve, reject });
      signal.addEventListener("abort", () => {
        print({ record: "withdrawn", id });
        reject(acp.RequestError.requestCancelled());
      });
      print({ record: "ask", id, method, params });
    });
}

const { client: theirs } = acp.methods;
const app = acp.client({ name: "typescript-sdk" });
app.onNotification(theirs.session.update, ({ params }) => print({ record: "update", params }));
for (const method of [
  theirs.session.requestPermission,
  theirs.elicitation.create,
  ...Object.values(theirs.fs),
  ...Object.values(theirs.terminal),
]) {
  app.onRequest(method, forward(method));
}

const connection = app.connect(
  acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout)),
);

async function call({ call: number, method, params }) {
  try {
    print({ record: "result", call: number, result: await connection.agent.request(method, params) });
  } catch (error) {
    const code = error instanceof acp.RequestError ? error.code : 0;
    print({ record: "error", call: number, code, message: String(error.message ?? error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const record = JSON.parse(line);
  if ("call" in record) {
    void call(record);
  } else if ("notify" in record) {
    await connection.agent.notify(record.notify, record.params);
  } else {
    const { resolve, reject } = asked.get(record.answer);
    asked.delete(record.answer);
    if ("error" in record) {
      reject(new acp.RequestError(-32603, record.error));
    } else {
      resolve(record.result);
    }
  }
}

agent.stdin.end();
await ended;
process.exit(0);
