import assert from "node:assert/strict";
import { Revision } from "../../daemon/revision.ts";
import { answerStatus, type StatusPages } from "../../daemon/status_socket.ts";
import { NO_ENFORCEMENT } from "../../engine/policy/status.ts";

function pages(): StatusPages {
  const revision = new Revision();
  return {
    health: () => ({ reasons: ["waiting"], remarks: [] }),
    metrics: () => "twill_ready 0\n",
    revision,
    page: () => Promise.resolve(new Response("<!doctype html>")),
    policy: () => ({
      node: "node1",
      table: "inet twill-policy",
      ping: false,
      state: "on",
      reasons: [],
      held: [],
      cluster: { pods: [], namespaces: [], policies: [] },
    }),
    status: () => ({
      revision: revision.number,
      version: "v",
      instance: "",
      started: 0,
      reasons: [],
      remarks: [],
      subnetFile: "",
      masquerade: false,
      store: { name: "file", connected: true, bad: [] },
      plugins: { listening: false, served: 0, left: {} },
      policy: NO_ENFORCEMENT,
    }),
  };
}

async function ask(path: string, of = pages(), method = "GET"): Promise<Response> {
  const request = new Request(`http://twill${path}`, { method });
  return await answerStatus(request, of, new AbortController().signal);
}

Deno.test("status socket: /status is the document, and the health pages are there too", async () => {
  const { schema, kind, revision } = await (await ask("/status")).json();
  assert.deepEqual({ schema, kind, revision }, { schema: 1, kind: "daemon", revision: 1 });
  assert.equal((await (await ask("/policy")).json()).node, "node1");
  assert.equal((await ask("/healthz")).status, 200);
  assert.match(await (await ask("/")).text(), /^<!doctype html>/);
  assert.equal((await ask("/readyz")).status, 503);
  assert.match(await (await ask("/metrics")).text(), /twill_ready 0/);
  assert.equal((await ask("/etc/passwd")).status, 404);
});

for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
  Deno.test(`status socket: ${method} is refused`, async () => {
    const response = await ask("/status", pages(), method);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "GET, HEAD");
  });
}

Deno.test("status socket: ?after=N answers at once when that is old, else on the next change", async () => {
  const of = pages();
  assert.equal((await (await ask("/status?after=0", of)).json()).revision, 1);
  let answered = false;
  const answer = ask("/status?after=1", of).then((response) => {
    answered = true;
    return response.json();
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(answered, false);
  of.revision.raise();
  assert.equal((await answer).revision, 2);
});

Deno.test("Revision.other: ends with its patience and with the signal", async () => {
  const revision = new Revision();
  await revision.other(1, 5, new AbortController().signal);
  const control = new AbortController();
  const waiting = revision.other(1, 60_000, control.signal);
  control.abort();
  await waiting;
});
