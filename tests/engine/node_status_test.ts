import assert from "node:assert/strict";
import { parseCidr4, parseIp4 } from "../../engine/ip.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { formatNodeStatus, type NodeStatus, parseNodeStatus } from "../../engine/node_status.ts";
import { NO_ENFORCEMENT } from "../../engine/policy/status.ts";

const own = {
  subnet: parseCidr4("10.244.1.0/24"),
  publicIp: parseIp4("192.0.2.1"),
  backendType: "vxlan",
  node: "worker",
};

/** Every member is there. */
const FULL: NodeStatus = {
  revision: 7,
  version: "twill 0.1.0",
  instance: "blue",
  started: Date.UTC(2026, 0, 1),
  reasons: ["waiting for a lease"],
  remarks: ["2 bad records"],
  subnetFile: "/run/flannel/subnet.env",
  masquerade: true,
  store: {
    name: "etcd",
    connected: false,
    problem: "connection refused",
    remembered: Date.UTC(2026, 0, 2),
    bad: [{ who: "/key", reason: "no JSON" }],
  },
  uplink: { name: "eth0", mtu: 1500 },
  leases: {
    at: Date.UTC(2026, 0, 3),
    conf: parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'),
    own,
    ends: Date.UTC(2026, 0, 4),
    leases: [own],
  },
  pass: {
    at: Date.UTC(2026, 0, 5),
    cause: "slow tick",
    took: 12,
    changes: 1,
    peers: 3,
    programmed: 1,
    refused: [{ who: "10.244.2.0-24", reason: "no" }],
    unusable: [{ who: "10.244.3.0-24", reason: "VtepMAC is missing" }],
    own: [{ who: "this node", reason: "rules" }],
  },
  plugins: {
    listening: true,
    served: 3,
    lastServed: Date.UTC(2026, 0, 6),
    left: { "another build": 2 },
  },
  policy: {
    state: "degraded",
    reasons: ["no rights"],
    policies: 3,
    isolated: 2,
    rules: 9,
    elements: 40,
    held: ["10.0.0.7"],
    faults: [{ policy: "x/p", reason: "spec.egress[0].when: this field is not known here" }],
  },
};

/** Only what a daemon knows as soon as it runs. */
const FIRST: NodeStatus = {
  revision: 1,
  version: "",
  instance: "",
  started: 0,
  reasons: [],
  remarks: [],
  subnetFile: "",
  masquerade: false,
  store: { name: "file", connected: true, bad: [] },
  plugins: { listening: false, served: 0, left: {} },
  policy: NO_ENFORCEMENT,
};

for (const [name, status] of Object.entries({ "everything": FULL, "the least": FIRST })) {
  Deno.test(`node status: ${name} is read as it was written`, () => {
    assert.deepEqual(parseNodeStatus(formatNodeStatus(status)), status);
  });
}

Deno.test("node status: of another form is refused by name", () => {
  for (const text of ["{}", '{"schema":2,"kind":"daemon"}', '{"schema":1,"kind":"peers"}']) {
    assert.throws(() => parseNodeStatus(text), /another version of twill/);
  }
});
