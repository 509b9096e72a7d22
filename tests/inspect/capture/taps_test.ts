import assert from "node:assert/strict";
import { parseCidr, parseIp } from "../../../engine/ip.ts";
import { peerPrefixes } from "../../../inspect/capture/scene.ts";
import { labelOf, stageOf, tapsOf } from "../../../inspect/capture/taps.ts";
import { TAPS } from "./node.ts";

Deno.test("tapsOf: each interface once, from the pod outwards; what has no frames is left out", () => {
  const hardware = 1;
  const taps = tapsOf({
    links: [
      ...["eth0", "veth7", "cni0", "veth8"].map((name, index) => ({ index, name, hardware })),
      { index: 20, name: "wg0", hardware: 65534 },
      { index: 21, name: "odd", hardware: 32 },
    ],
    pods: [
      {
        name: "web",
        netns: "/run/netns/web",
        inside: { index: 2, name: "eth0" },
        veth: "veth8",
        ips: [parseIp("10.244.1.2")],
      },
      { name: "alone", netns: "/run/netns/x", inside: { index: 3, name: "net1" }, ips: [] },
    ],
    ports: ["veth7", "veth8"],
    bridges: ["cni0", "cni0"],
    vteps: ["wg0", "gone"],
    uplinks: ["eth0", "odd"],
  });
  assert.deepEqual(taps.map((tap) => `${tap.role} ${labelOf(tap)} ${tap.link}`), [
    "pod web:eth0 ethernet",
    "pod alone:net1 ethernet",
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
