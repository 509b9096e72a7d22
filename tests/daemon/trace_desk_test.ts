/** What `/trace` refuses; that it answers is in lab/trace_test.ts. */

import assert from "node:assert/strict";
import { TraceDesk, traceWords } from "../../daemon/trace_desk.ts";
import { parseIp4 } from "../../engine/ip.ts";
import { parseNetConf } from "../../engine/net_conf.ts";

const lease = { publicIp: parseIp4("192.0.2.2"), backendType: "vxlan" };
const LEASES = {
  at: 0,
  conf: parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'),
  own: lease,
  leases: [lease],
};

function ask(query: string, asker: string, program = "/bin/false"): Promise<Response> {
  const status = () => ({ leases: LEASES, subnetFile: "/run/flannel/subnet.env", instance: "" });
  const desk = new TraceDesk(status, program);
  return desk.answer(new URLSearchParams(query), asker, new AbortController().signal);
}

const GOOD = "src=10.244.1.2&dst=10.244.2.7&protocol=tcp&port=80";

for (const asker of ["192.0.2.3", "10.244.2.7", "127.0.0.1", "::1", ""]) {
  Deno.test(`/trace: ${asker || "nobody"} is no node of the overlay`, async () => {
    const response = await ask(GOOD, asker);
    assert.equal(response.status, 403);
    assert.match((await response.json()).error, /only nodes of the overlay/);
  });
}

const BAD: Readonly<Record<string, RegExp>> = {
  "": /^src: /,
  "src=10.244.1.2": /^dst: /,
  "src=10.244.1.2&dst=--help": /^dst: /,
  "src=10.244.1.2&dst=10.244.2.7&protocol=x": /^protocol: /,
  "src=10.244.1.2&dst=10.244.2.7&port=0": /^port: /,
  "src=10.244.1.2&dst=10.244.2.7&port=80;ls": /^port: /,
  "src=10.244.1.2&dst=10.244.2.7&port=65536": /^port: /,
};

for (const [query, words] of Object.entries(BAD)) {
  Deno.test(`/trace?${query}: refused, with what is wrong`, async () => {
    const response = await ask(query, "192.0.2.2");
    assert.equal(response.status, 400);
    assert.match((await response.json()).error, words);
  });
}

Deno.test("/trace: words of a command line", () => {
  assert.deepEqual(traceWords(new URLSearchParams(GOOD)), ["10.244.1.2", "10.244.2.7", "tcp/80"]);
  const ping = new URLSearchParams("src=10.244.1.2&dst=10.244.2.7&protocol=icmp");
  assert.deepEqual(traceWords(ping), ["10.244.1.2", "10.244.2.7", "icmp"]);
});

Deno.test("/trace: a program that fails is an error, one that answers is passed on", async () => {
  const failed = await ask(GOOD, "::ffff:192.0.2.2");
  assert.equal(failed.status, 500);
  const answered = await ask(GOOD, "192.0.2.2", "/bin/echo");
  assert.equal(answered.status, 200);
  assert.equal(
    await answered.text(),
    "inspect trace 10.244.1.2 10.244.2.7 tcp/80 -o json --subnet-file /run/flannel/subnet.env\n",
  );
});

Deno.test("/trace: one at a time", async () => {
  const status = () => ({ leases: LEASES, subnetFile: "x", instance: "" });
  const desk = new TraceDesk(status, "/bin/echo");
  const query = new URLSearchParams(GOOD);
  const { signal } = new AbortController();
  const both = await Promise.all([1, 2].map(() => desk.answer(query, "192.0.2.2", signal)));
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 503]);
  await Promise.all(both.map((one) => one.body?.cancel()));
});
