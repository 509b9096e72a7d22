/** What the client sends, and which of it the daemon serves. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { identityOf, whyNotElsewhere } from "../../daemon/server/elsewhere.ts";
import { Lanes } from "../../daemon/server/lanes.ts";
import {
  type ClientRequest,
  encodeAnswer,
  LARGEST,
  parsePrefix,
  parseRequest,
  type Place,
  whyNotMe,
} from "../../daemon/server/protocol.ts";

const PLACE: Place = { netns: "4:1", mntns: "4:2", root: "8:2", cwd: "8:2" };
const FILES = { self: "8:3", pod: "4:5", state: "8:4", records: "", subnet: "8:5" };
const OWN = { build: "b1", place: PLACE };
const REQUEST: ClientRequest = {
  plugin: "flannel",
  build: "b1",
  call: "0123456789abcdef".repeat(2),
  place: PLACE,
  files: FILES,
  env: { CNI_COMMAND: "ADD", CNI_NETNS: "/run/netns/a", CNI_PATH: "/opt/cni/bin" },
  stdin: new Uint8Array(),
};

function header(request: ClientRequest): Uint8Array {
  const { plugin, build, call, place, files, env } = request;
  const own = Object.entries({ plugin, build, call, ...place, ...files });
  const text = (pairs: [string, string][]): string => pairs.map(([k, v]) => `${k}=${v}\0`).join("");
  return new TextEncoder().encode(`${text(own)}\0${text(Object.entries(env))}`);
}

Deno.test("server protocol: a request is read as it was written", () => {
  const read = parseRequest(header(REQUEST), REQUEST.stdin);
  assert.deepEqual({ ...read, env: { ...read?.env } }, REQUEST);
});

Deno.test("server protocol: of two variables with one name the first counts", () => {
  const bytes = new Uint8Array([
    ...header(REQUEST),
    ...new TextEncoder().encode("CNI_COMMAND=DEL\0"),
  ]);
  assert.equal(parseRequest(bytes, REQUEST.stdin)?.env.CNI_COMMAND, "ADD");
});

Deno.test("server protocol: what is cut short or no text is no request", () => {
  const whole = header(REQUEST);
  assert.equal(parseRequest(whole.subarray(0, -1), REQUEST.stdin), undefined);
  assert.equal(parseRequest(new Uint8Array([...whole, 0xff, 0]), REQUEST.stdin), undefined);
  assert.equal(parseRequest(header({ ...REQUEST, call: "../x" }), REQUEST.stdin), undefined);
});

Deno.test("server protocol: any bytes are a request or none, and never an error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
    parseRequest(bytes, REQUEST.stdin);
    if (bytes.length >= 12) parsePrefix(bytes);
  }));
});

Deno.test("server protocol: lengths above the limits are refused", () => {
  const prefix = (headerLength: number, stdin: number): Uint8Array => {
    const bytes = new Uint8Array(12);
    bytes.set(new TextEncoder().encode("TWL1"));
    new Uint32Array(bytes.buffer).set([headerLength, stdin], 1);
    return bytes;
  };
  assert.deepEqual(parsePrefix(prefix(LARGEST.header, LARGEST.stdin)), LARGEST);
  assert.equal(parsePrefix(prefix(LARGEST.header + 1, 0)), undefined);
  assert.equal(parsePrefix(prefix(0, LARGEST.stdin + 1)), undefined);
  assert.equal(parsePrefix(new Uint8Array(12)), undefined);
});

/** Changes of a request, and whether it is still served. */
const ROWS: readonly (readonly [string, Partial<ClientRequest>, RegExp | undefined])[] = [
  ["as it is", {}, undefined],
  ["another build", { build: "b2" }, /build/],
  ["another network namespace", { place: { ...PLACE, netns: "4:9" } }, /netns/],
  ["a network namespace that cannot be told", { place: { ...PLACE, netns: "" } }, /netns/],
  ["a mount namespace that cannot be told", { place: { ...PLACE, mntns: "" } }, /mntns/],
  ["another mount namespace", { place: { ...PLACE, mntns: "4:9" } }, /elsewhere/],
  ["another mount namespace and root", { place: { ...PLACE, mntns: "4:9", root: "8:9" } }, /where/],
  [
    "another mount and network namespace",
    { place: { ...PLACE, mntns: "4:9", netns: "4:8" } },
    /netns/,
  ],
  ["another root", { place: { ...PLACE, root: "8:9" } }, /root/],
  ["another directory", { place: { ...PLACE, cwd: "8:9" } }, undefined],
  [
    "another directory, and a path that hangs on it",
    { place: { ...PLACE, cwd: "8:9" }, env: { ...REQUEST.env, CNI_PATH: "/a:b" } },
    /directory/,
  ],
  ["its own process", { env: { CNI_NETNS: "/proc/self/ns/net" } }, /its own process/],
  ["an endless identifier", { env: { CNI_CONTAINERID: "x".repeat(201) } }, /identifier/],
  ["ADD of bandwidth", { plugin: "bandwidth" }, /bandwidth/],
];

for (const [name, change, why] of ROWS) {
  Deno.test(`server protocol: ${name} is ${why === undefined ? "served" : "not ours"}`, () => {
    const reason = whyNotMe({ ...REQUEST, ...change }, OWN, () => "elsewhere");
    if (why === undefined) assert.equal(reason, undefined);
    else assert.match(reason ?? "", why);
  });
}

Deno.test("server elsewhere: what neither side has is not the same", () => {
  const see = (path: string): string => identityOf(path);
  const files = {
    ...FILES,
    state: see("/var/lib/cni"),
    records: see("/var/lib/cni/flannel"),
    subnet: see("/run/flannel/subnet.env"),
    pod: "",
    self: "",
  };
  const env = { CNI_COMMAND: "DEL", CNI_PATH: "/nonexistent" };
  assert.match(whyNotElsewhere({ ...REQUEST, files, env }) ?? "", /^another /);
  // VERSION needs no file.
  const version = { CNI_COMMAND: "VERSION" };
  assert.equal(whyNotElsewhere({ ...REQUEST, files, env: version }), undefined);
});

Deno.test("server protocol: an answer has status, lengths, stdout and log", () => {
  const bytes = encodeAnswer(1, "out", "log\n");
  assert.deepEqual([...new Uint32Array(bytes.buffer, 0, 3)], [1, 3, 4]);
  assert.equal(new TextDecoder().decode(bytes.subarray(12)), "outlog\n");
});

Deno.test("server lanes: one lane in its order, lanes side by side, not too many", async () => {
  const lanes = new Lanes(2);
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const add = (lane: string, name: string): void =>
    lanes.add({
      lane,
      start: () => {
        log.push(name);
        return new Promise((resolve) => ends.set(name, resolve));
      },
      refuse: () => log.push(`no ${name}`),
    });
  const finish = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  add("a", "a1");
  add("a", "a2");
  add("b", "b1");
  add("c", "c1");
  assert.deepEqual(log, ["a1", "b1"]);
  await finish("a1");
  assert.deepEqual(log, ["a1", "b1", "a2"]);
  const closing = lanes.close(1_000);
  add("d", "d1");
  assert.deepEqual(log, ["a1", "b1", "a2", "no c1", "no d1"]);
  await finish("b1");
  await finish("a2");
  await closing;
  assert.equal(lanes.size, 0);
});

Deno.test("server lanes: closing does not wait for ever", async () => {
  const lanes = new Lanes(1);
  const stuck = Promise.withResolvers<void>();
  lanes.add({ lane: "a", start: () => stuck.promise, refuse: () => {} });
  await lanes.close(5);
  assert.equal(lanes.size, 1);
  stuck.resolve();
  await stuck.promise;
});
