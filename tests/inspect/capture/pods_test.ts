import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../engine/ip.ts";
import {
  joinPods,
  type LinkView,
  type NamespaceView,
  parseNote,
  parseReservation,
  podsNamed,
  type PodSources,
} from "../../../inspect/capture/pods.ts";
import { peerPrefixes } from "../../../inspect/capture/scene.ts";
import { parseCidr } from "../../../engine/ip.ts";
import { labelOf, stageOf, tapsOf } from "../../../inspect/capture/taps.ts";
import { TAPS } from "./node.ts";

const ID = "0123456789abcdef0123456789abcdef";

/** The node's end of a pair. */
function veth(index: number, id: number, master?: number): LinkView {
  const to = { lower: 2, lowerNamespace: id, ...(master && { master }) };
  return { index, name: `veth${index}`, kind: "veth", ...to };
}

/** A namespace with an `eth0` whose other end has this index. */
function namespace(name: string, id: number, lower: number, ip: string): NamespaceView {
  return {
    path: name.startsWith("/") ? name : `/run/netns/${name}`,
    id,
    links: [
      { index: 1, name: "lo", kind: "" },
      { index: 2, name: "eth0", kind: "veth", lower },
    ],
    addresses: [
      { index: 1, ip: parseIp("127.0.0.1") },
      { index: 2, ip: parseIp(ip) },
      { index: 2, ip: parseIp("fe80::1") },
    ],
  };
}

const SOURCES: PodSources = {
  links: [
    { index: 2, name: "eth0", kind: "" },
    { index: 4, name: "cni0", kind: "bridge" },
    veth(7, 0, 4),
    veth(8, 1, 4),
    veth(9, 2),
    veth(10, 3),
  ],
  namespaces: [
    namespace("cni-1", 0, 7, "10.244.1.2"),
    namespace("web", 1, 8, "10.244.1.3"),
    namespace("routed", 2, 9, "10.244.1.4"),
    namespace("foreign", 3, 10, "172.17.0.2"),
  ],
  reservations: [
    { ip: parseIp("10.244.1.2"), containerId: ID },
    { ip: parseIp("10.244.1.4"), containerId: "fedcba9876543210" },
  ],
  notes: [{ containerId: ID, pod: "default/api" }],
  bridge: 4,
};

Deno.test("joinPods: names, veths and addresses; foreign namespaces are left alone", () => {
  assert.deepEqual(
    joinPods(SOURCES).map(({ name, netns, veth, ips }) => [name, netns, veth.name, ...ips]),
    [
      ["default/api", "/run/netns/cni-1", "veth7", "10.244.1.2"],
      ["routed", "/run/netns/routed", "veth9", "10.244.1.4"],
      ["web", "/run/netns/web", "veth8", "10.244.1.3"],
    ],
  );
});

Deno.test("joinPods: an index is a number of its namespace; only that one is meant", () => {
  // Another node's own interface, with the same numbers.
  const stranger = { ...namespace("/proc/99/ns/net", 5, 7, "192.0.2.2") };
  const pods = joinPods({ ...SOURCES, namespaces: [...SOURCES.namespaces, stranger] });
  assert.deepEqual(pods.map(({ name }) => name), ["default/api", "routed", "web"]);
});

Deno.test("joinPods: a namespace that only a process holds is called by its container", () => {
  const held = namespace("/proc/99/ns/net", 2, 9, "10.244.1.4");
  const unknown = namespace("/proc/98/ns/net", 1, 8, "10.244.1.3");
  const pods = joinPods({ ...SOURCES, namespaces: [held, unknown] });
  assert.deepEqual(pods.map(({ name }) => name), ["fedcba987654", "pid-98"]);
});

const NAMED: Readonly<Record<string, readonly string[]>> = {
  "default/api": ["default/api"],
  "api": ["default/api"],
  "10.244.1.2": ["default/api"],
  "0123456": ["default/api"],
  "cni-1": ["default/api"],
  "web": ["web"],
  "012": [],
  "nope": [],
  "": [],
};

for (const [word, names] of Object.entries(NAMED)) {
  Deno.test(`podsNamed: ${JSON.stringify(word)} means ${names.join() || "nobody"}`, () => {
    assert.deepEqual(podsNamed(joinPods(SOURCES), word).map(({ name }) => name), names);
  });
}

Deno.test("parseReservation: container and address, in all forms; other files are none", () => {
  const ip = parseIp("10.244.1.2");
  for (const text of [`${ID}\r\neth0`, `${ID}\neth0\n`, ID, `${ID} `]) {
    assert.deepEqual(parseReservation("10.244.1.2", text), { ip, containerId: ID });
  }
  assert.equal(parseReservation("fd00::2", ID)?.ip, "fd00::2");
  for (const [file, text] of [["lock", ""], ["last_reserved_ip.0", "10.244.1.2"], [ip, ""]]) {
    assert.equal(parseReservation(file!, text!), undefined);
  }
});

Deno.test("parseNote: the pod's name from libcni's notes; anything else is no note", () => {
  const note = {
    kind: "cniCacheV1",
    containerId: ID,
    ifName: "eth0",
    cniArgs: [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "api"]],
  };
  assert.deepEqual(parseNote(JSON.stringify(note)), { containerId: ID, pod: "default/api" });
  for (const text of ["", "{", "null", "[]", "{}", JSON.stringify({ ...note, cniArgs: "x" })]) {
    assert.equal(parseNote(text), undefined);
  }
  fc.assert(fc.property(fc.jsonValue(), (value) => void parseNote(JSON.stringify(value))));
});

Deno.test("tapsOf: each interface once, from the pod outwards; what has no frames is left out", () => {
  const hardware = 1;
  const taps = tapsOf({
    links: [
      ...SOURCES.links.map(({ index, name }) => ({ index, name, hardware })),
      { index: 20, name: "wg0", hardware: 65534 },
      { index: 21, name: "odd", hardware: 32 },
    ],
    pods: joinPods(SOURCES).filter(({ name }) => name === "web"),
    ports: ["veth7", "veth8"],
    bridges: ["cni0", "cni0"],
    vteps: ["wg0", "gone"],
    uplinks: ["eth0", "odd"],
  });
  assert.deepEqual(taps.map((tap) => `${tap.role} ${labelOf(tap)} ${tap.link}`), [
    "pod web:eth0 ethernet",
    "veth veth8 ethernet",
    "veth veth7 ethernet",
    "bridge cni0 ethernet",
    "vtep wg0 ip",
    "uplink eth0 ethernet",
  ]);
});

Deno.test("stageOf: a packet's way out, and its way in, are in order", () => {
  const [pod, veth, bridge, vtep, uplink] = TAPS;
  const way = (steps: readonly (readonly [typeof pod, boolean])[]): number[] =>
    steps.map(([tap, out]) => stageOf(tap!, out));
  const out = way([[pod, true], [veth, false], [bridge, false], [vtep, true], [uplink, true]]);
  const back = way([[uplink, false], [vtep, false], [bridge, true], [veth, true], [pod, false]]);
  for (const stages of [out, back]) {
    assert.equal(stages[0], 0, "where it begins nothing can have been seen before");
    assert.deepEqual(stages, [...stages].sort((a, b) => a - b));
    assert.equal(new Set(stages).size, stages.length);
  }
});

const PEERS = [
  { name: "worker2", publicIp: parseIp("192.0.2.2"), subnet: parseCidr("10.244.2.0/24") },
  { publicIp: parseIp("192.0.2.3"), subnet: parseCidr("10.244.3.0/24") },
];

for (const word of ["worker2", "192.0.2.2", "10.244.2.0/24", "10.244.2.7"]) {
  Deno.test(`peerPrefixes: ${word} means the whole node`, () => {
    assert.deepEqual(peerPrefixes(PEERS, word), ["192.0.2.2/32", "10.244.2.0/24"]);
  });
}

Deno.test("peerPrefixes: a word that means no node", () => {
  for (const word of ["worker9", "192.0.2.9", "10.244.9.0/24", ""]) {
    assert.deepEqual(peerPrefixes(PEERS, word), []);
  }
});
