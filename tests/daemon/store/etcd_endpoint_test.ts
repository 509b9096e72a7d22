import assert from "node:assert/strict";
import { parseEndpoint, wordsOf } from "../../../daemon/store/etcd_endpoint.ts";

/** What is written, what it means: URL, host, and `a` for an address, `s` for TLS. */
const GOOD: readonly (readonly [text: string, url: string, host: string, marks: string])[] = [
  ["http://10.0.0.2:2379", "http://10.0.0.2:2379", "10.0.0.2", "a"],
  ["https://10.0.0.2:2379/", "https://10.0.0.2:2379", "10.0.0.2", "as"],
  [" HTTPS://etcd-1.example:2379 ", "https://etcd-1.example:2379", "etcd-1.example", "s"],
  ["https://[FD00:0::1]:2379", "https://[FD00:0::1]:2379", "fd00::1", "as"],
  ["10.0.0.2:2379", "http://10.0.0.2:2379", "10.0.0.2", "a"],
];
for (const [text, url, host, marks] of GOOD) {
  Deno.test(`parseEndpoint: ${text}`, () => {
    const endpoint = parseEndpoint(text);
    assert.equal(endpoint.url, url);
    assert.equal(endpoint.host, host);
    assert.equal(`${endpoint.isAddress ? "a" : ""}${endpoint.secure ? "s" : ""}`, marks);
  });
}

Deno.test("parseEndpoint: without a scheme the files decide", () => {
  assert.equal(parseEndpoint("etcd:2379", true).url, "https://etcd:2379");
  assert.equal(parseEndpoint("http://etcd:2379", true).secure, false);
});

const BAD = [
  "",
  "etcd",
  "http://etcd",
  "http://:2379",
  "http://etcd:0",
  "http://etcd:65536",
  "ftp://etcd:2379",
  "http://me:secret@etcd:2379",
  "http://etcd:2379/path",
  "http://[etcd]:2379",
  "http://fd00::1:2379",
  "http://10.0.0.256:2379",
  "unix:///run/etcd.sock",
];
for (const text of BAD) {
  Deno.test(`parseEndpoint: refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseEndpoint(text), { name: "SyntaxError", message: /^no etcd endpoint/ });
  });
}

/** Messages as gRPC gave them, and what an operator reads. */
const WORDS: readonly (readonly [message: string, words: string])[] = [
  [
    "14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ",
    "connection refused",
  ],
  ["14 UNAVAILABLE: No connection established", "no connection"],
  ["14 UNAVAILABLE: Connection dropped", "connection lost"],
  [
    "14 UNAVAILABLE: No connection established. Last error: received fatal alert: BadCertificate (2026-01-02T03:04:05.678Z). Resolution note: ",
    "it wants another client certificate (BadCertificate)",
  ],
  [
    "4 DEADLINE_EXCEEDED: Deadline exceeded after 2.003s,LB pick: 0.001s,remote_addr=127.0.0.1:1",
    "no answer within 2000 ms",
  ],
  [
    "GRPCUnavailableError: 14 UNAVAILABLE: Name resolution failed for target dns:x:1",
    "its name cannot be resolved",
  ],
  ["14 UNAVAILABLE: etcdserver: no leader", "etcdserver: no leader"],
  ["etcdserver: permission denied", "etcdserver: permission denied"],
  [
    "No connection established. Last error: Failed to connect (2026-01-02T03:04:05.678Z). Resolution note: ",
    "connection reset; does it want https://?",
  ],
];
for (const [message, words] of WORDS) {
  Deno.test(`wordsOf: ${words}`, () => {
    assert.equal(wordsOf(message, { secure: false }, 2_000), words);
  });
}
