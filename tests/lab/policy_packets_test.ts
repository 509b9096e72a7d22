/**
 * Policies and real packets: the tables that the engine makes, in the kernels of two nodes. What
 * pods may do is judged by the case tables, never by the engine.
 */

import assert from "node:assert/strict";
import { deltaText, narrows, wholeText } from "../../engine/policy/render.ts";
import {
  type Enforced,
  nextGeneration,
  noPolicies,
  policyTable,
} from "../../engine/policy/table.ts";
import { CASES } from "../engine/policy/cases.ts";
import { type Expectation, expectation, Scene } from "../engine/policy/language.ts";
import { Nodes } from "../engine/policy/nodes.ts";
import { Field } from "./policy/field.ts";

const FULL = Deno.env.get("TWILL_FULL") !== undefined;
/** What the gate tries: each kind of peer, port and change once. The full form tries all. */
const SELECTION = ("U01 U02 U03 U09 U13 U15 U17 U19 U22 U24 U27 U33 U36 U38 U40 U42 " +
  "C01 C12 C13 C20 C32 X06 X08").split(" ");

let field: Field;
let folder: string;
let enforcers: Enforcers;

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir({ prefix: "twill-policy-" });
  const places = [...new Scene().pods].map(([name, { spec, status }]) => ({
    name,
    node: Number(spec?.nodeName?.at(-1)),
    ips: status?.podIPs?.map(({ ip }) => ip ?? "") ?? [],
  }));
  field = await Field.create(folder, places);
  enforcers = new Enforcers();
  await enforcers.start();
});

Deno.test.afterAll(async () => {
  await field?.[Symbol.asyncDispose]();
  await Deno.remove(folder, { recursive: true });
});

/** What two daemons would do: deltas where they lead on, from the table that stands. */
class Enforcers {
  readonly #nodes = new Nodes(["node1", "node2"]);
  readonly #have = new Map<number, Enforced>();
  readonly scene = new Scene();
  readonly #ping: boolean;

  constructor(ping = false) {
    this.#ping = ping;
  }

  async start(): Promise<void> {
    for (const node of [1, 2]) {
      const options = { table: policyTable(""), ping: this.#ping };
      const table: Enforced = { ...noPolicies(), options, generation: 1 };
      await field.nft(node, wholeText(table));
      this.#have.set(node, table);
    }
    await this.apply();
  }

  /** Does what a case says and enforces it. */
  async do(...deeds: string[]): Promise<void> {
    for (const deed of deeds) this.scene.do(deed);
    await this.apply();
  }

  async apply(): Promise<void> {
    const { namespaces, pods, policies } = this.scene;
    this.#nodes.update({
      namespaces: [...namespaces.values()],
      pods: [...pods.values()],
      policies: [...policies.values()],
    });
    for (const node of [1, 2]) {
      const have = this.#have.get(node)!;
      const table = this.#nodes.tables.get(`node${node}`) ?? noPolicies();
      const { generation, options } = have;
      const next = narrows(have, table) ? nextGeneration(generation) : generation;
      const want: Enforced = { ...table, options, generation: next };
      await field.nft(node, deltaText(have, want));
      this.#have.set(node, want);
    }
  }
}

function ipOf(name: string, family: 0 | 1 = 0): string {
  return enforcers.scene.pods.get(name)?.status?.podIPs?.[family]?.ip ?? "";
}

/** Tries what an expectation says, between all pods that there are. */
async function probe({ protocol, port, open }: Expectation, family: 0 | 1): Promise<void> {
  if (protocol === "SCTP") return; // no sockets in this kernel; the tables are compared elsewhere
  const names = [...enforcers.scene.pods.keys()].filter((name) => name !== "x/d");
  const wrong = await Promise.all(
    names.flatMap((source) =>
      names.filter((destination) => source !== destination).map(async (destination) => {
        const want = open(source, destination);
        const ip = ipOf(destination, family);
        const got = await field.pod(source).reaches(ip, port, want, protocol as "TCP" | "UDP");
        return got === want ? [] : [`${source} → ${destination} is ${got ? "open" : "closed"}`];
      })
    ),
  );
  assert.deepEqual(wrong.flat(), [], `${protocol}/${port} over IPv${family === 0 ? 4 : 6}`);
}

for (const { id, title, steps } of CASES) {
  if (!FULL && !SELECTION.includes(id)) continue;
  packetTest(`${id}: ${title}`, async () => {
    const byAddress = steps.some(({ deeds }) => deeds.some((deed) => deed.includes("IP(")));
    const families = byAddress
      ? [0] as const
      : FULL
      ? [0, 1] as const
      : [Number(id.slice(1)) % 2] as const;
    for (const { deeds, expect } of steps) {
      await enforcers.do(...deeds);
      for (const one of expect.map(expectation)) {
        for (const family of families) await probe(one, family as 0 | 1);
      }
    }
  });
}

/** A test that begins without policies. The agents' answers are read from one test to the next. */
function packetTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: `policy packets: ${name}`,
    sanitizeOps: false,
    fn: async () => {
      enforcers = new Enforcers();
      await enforcers.start();
      await fn();
    },
  });
}

packetTest("P01, P02: a node reaches its own pods whatever they deny, others do not", async () => {
  await enforcers.do("x/p on pod=a types Ingress+Egress; in: []; out: []");
  for (const family of [0, 1] as const) {
    const ip = ipOf("x/a", family);
    assert.equal(await field.node(1).reaches(ip, 80, true), true, "from its own node");
    assert.equal(await field.node(1).reaches(ip, 80, true, "UDP"), true, "UDP from its own node");
    assert.equal(await field.node(2).reaches(ip, 80, false), false, "from the other node");
  }
  await enforcers.do("x/q on pod=a types Ingress; in: IP(172.31.0.2/32) @ any port");
  assert.equal(await field.node(2).reaches(ipOf("x/a"), 80, true), true, "named by its address");
});

packetTest("P05, P06: what leaves for a node is judged, the own one too", async () => {
  const nodes = ["172.31.0.1", "10.244.1.1", "172.31.0.2", "fd00:31::1", "fd00:31::2"];
  for (const ip of nodes) assert.equal(await field.pod("x/a").reaches(ip, 80, true), true, ip);
  await enforcers.do("x/p on pod=a types Egress; out: []");
  for (const ip of nodes) assert.equal(await field.pod("x/a").reaches(ip, 80, false), false, ip);
  await enforcers.do("x/q on pod=a types Egress; out: IP(172.31.0.1/32) @ TCP/80");
  assert.equal(await field.pod("x/a").reaches("172.31.0.1", 80, true), true);
  assert.equal(await field.pod("x/a").reaches("172.31.0.1", 81, false), false);
  assert.equal(await field.pod("x/c").reaches("172.31.0.2", 80, true), true, "another pod");
});

packetTest(
  "P09, P10, P12: behind a Service count the pod and its port; a pod may be its own",
  async () => {
    const service = (address: string, pod: string): string =>
      `add rule ip svc pre ip daddr ${address} tcp dport 8080 dnat to ${ipOf(pod)}:80\n`;
    await field.nft(
      1,
      "add table ip svc\n" +
        "add chain ip svc pre { type nat hook prerouting priority dstnat ; }\n" +
        "add chain ip svc post { type nat hook postrouting priority srcnat ; }\n" +
        `${service("10.96.0.1", "x/a")}${service("10.96.0.2", "y/b")}` +
        `add rule ip svc post ip saddr ${ipOf("x/a")} ip daddr ${ipOf("x/a")} masquerade\n`,
    );
    try {
      await enforcers.do(
        "x/p on pod=a types Egress+Ingress; in: []; out: N(ns=y)+P(pod=b) @ TCP/80",
      );
      const pod = field.pod("x/a");
      assert.equal(await pod.reaches("10.96.0.2", 8080, true), true, "to the Service");
      assert.equal(await pod.reaches("10.96.0.1", 8080, true), true, "to itself by the Service");
      assert.equal(await field.pod("x/c").reaches("10.96.0.1", 8080, false), false, "another");
      await enforcers.do("x/p on pod=a types Egress; out: N(ns=y)+P(pod=b) @ TCP/8080");
      assert.equal(await pod.reaches("10.96.0.2", 8080, false), false, "the Service's own port");
    } finally {
      await field.nft(1, "delete table ip svc\n");
    }
  },
);

packetTest(
  "P16 to P19: connections that stand: answers pass, a deny cuts, an allow resumes",
  async () => {
    const client = field.pod("x/c");
    for (const server of ["x/a", "y/b"]) {
      for (const protocol of ["TCP", "UDP"] as const) {
        const at = `${protocol} to ${server}`;
        const line = { protocol, ip: ipOf(server), port: 80, name: at } as const;
        const [namespace] = server.split("/");
        const name = server.split("/")[1];
        const target = `${namespace}/p on pod=${name} types`;
        assert.equal(await client.ask({ ...line, deed: "open" }), true, at);
        await enforcers.do(`${target} Egress; out: []`);
        assert.equal(await client.ask({ ...line, deed: "ask" }), true, `${at}: answers pass`);
        await enforcers.do(`${target} Ingress; in: P(pod=c) OR N(ns=x) @ any port`);
        assert.equal(await client.ask({ ...line, deed: "ask" }), true, `${at}: still allowed`);
        await enforcers.do(`${target} Ingress; in: []`);
        assert.equal(
          await client.ask({ ...line, deed: "ask" }, false),
          false,
          `${at}: cut at once`,
        );
        await enforcers.do(`delete ${namespace}/p`);
        assert.equal(await client.ask({ ...line, deed: "ask" }), true, `${at}: resumes`);
        await client.ask({ ...line, deed: "shut" });
      }
    }
  },
);

packetTest(
  "both ends of a pair on one node are judged again, each by its own policies",
  async () => {
    const client = field.pod("x/c");
    const line = { protocol: "TCP", ip: ipOf("x/a"), port: 80, name: "both" } as const;
    await enforcers.do(
      "x/i on pod=a types Ingress; in: P(pod=c) @ any port",
      "x/o on pod=c types Egress; out: P(pod=a) @ any port",
    );
    assert.equal(await client.ask({ ...line, deed: "open" }), true);
    await enforcers.do("x/i on pod=a types Ingress; in: P(pod=b) @ any port");
    assert.equal(await client.ask({ ...line, deed: "ask" }, false), false, "by the destination");
    await enforcers.do("x/i on pod=a types Ingress; in: P(pod=c) @ any port");
    assert.equal(await client.ask({ ...line, deed: "ask" }), true);
    const spare = { ...line, name: "spare" };
    assert.equal(await client.ask({ ...spare, deed: "open" }), true);
    await enforcers.do("x/o on pod=c types Egress; out: P(pod=b) @ any port");
    assert.equal(await client.ask({ ...line, deed: "ask" }, false), false, "by the source");
    // What the server says of itself is an answer still, and no permission to ask.
    await enforcers.do("x/a on pod=a types Egress; out: []");
    assert.equal(await field.pod("x/a").ask({ ...line, deed: "push" }), true);
    assert.equal(await client.ask({ ...spare, deed: "ask" }), true, "the pushed word is heard");
    assert.equal(await client.ask({ ...spare, deed: "ask" }, false), false, "still by the source");
    await client.ask({ ...spare, deed: "shut" });
    await client.ask({ ...line, deed: "shut" });
  },
);

packetTest(
  "P20, P21, P23: ping follows rules without ports, or the switch; neighbours are found",
  async () => {
    const ping = async (ip: string, wanted: boolean): Promise<boolean> => {
      const patience = wanted ? "5" : "1";
      const { code } = await field.pod("x/c").space.exec(["ping", "-c1", "-W", patience, ip]);
      return code === 0;
    };
    for (const family of [0, 1] as const) {
      const ip = ipOf("x/a", family);
      await field.pod("x/c").space.ip("neigh flush dev eth0");
      await enforcers.do("x/p on pod=a types Ingress; in: any peer @ TCP/80");
      assert.equal(await field.pod("x/c").reaches(ip, 80, true), true, "neighbour found");
      assert.equal(await ping(ip, false), false, "ports only");
      await enforcers.do("x/p on pod=a types Ingress; in: P(pod=c) @ any port");
      assert.equal(await ping(ip, true), true, "no ports");
    }
    await enforcers.do("x/p on pod=a types Ingress+Egress; in: []; out: P(pod=c) @ TCP/80");
    await field.pod("x/a").space.ip("neigh flush dev eth0");
    const own = field.pod("x/a");
    assert.equal(
      await own.reaches(ipOf("x/c", 1), 80, true),
      true,
      "neighbour found by an isolated pod",
    );
    enforcers = new Enforcers(true);
    await enforcers.start();
    await enforcers.do("x/p on pod=a types Ingress+Egress; in: []; out: []");
    for (const family of [0, 1] as const) {
      assert.equal(await ping(ipOf("x/a", family), true), true, "the switch");
    }
  },
);

packetTest(
  "P22: errors about a flow reach its sender, and nobody is isolated from them",
  async () => {
    await enforcers.do("x/p on pod=c types Ingress; in: []");
    const node = field.node(2).space;
    await node.ip(`route add ${ipOf("y/b")} dev cni0 mtu lock 1200`);
    try {
      const { stdout } = await field.pod("x/c").space.exec(
        ["ping", "-c1", "-W2", "-M", "do", "-s", "1372", ipOf("y/b")],
      );
      assert.match(stdout, /Frag needed and DF set \(mtu = 1200\)/);
    } finally {
      await node.ip(`route del ${ipOf("y/b")} dev cni0`);
    }
  },
);

packetTest(
  "bridges that netfilter does not see: between pods of one node nothing is enforced",
  async () => {
    const switches = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"];
    const set = async (value: 0 | 1): Promise<void> => {
      await field.node(1).space.must([
        "sysctl",
        "-qw",
        ...switches.map((key) => `${key}=${value}`),
      ]);
    };
    await enforcers.do("x/p on pod=a types Ingress; in: []");
    await set(0);
    try {
      assert.equal(await field.pod("x/c").reaches(ipOf("x/a"), 80, true), true, "same bridge");
      assert.equal(await field.pod("x/b").reaches(ipOf("x/a"), 80, false), false, "other node");
    } finally {
      await set(1);
    }
    assert.equal(
      await field.pod("x/c").reaches(ipOf("x/a"), 80, false),
      false,
      "same bridge again",
    );
  },
);
