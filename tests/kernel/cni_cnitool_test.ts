/** The real libcni, by its command line tool, on chains of our plugins. */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { within } from "../../ffi/netns.ts";
import { conflistText } from "../../install/conflist.ts";
import { BridgeNode, type Shown } from "./bridge_rows.ts";
import { run } from "./plugins.ts";

/** Where libcni keeps results; nothing else may be there. */
const CACHE = "/var/lib/cni/results";

libc(); // opened once and for good: inside a case it would count as a leak

/** A node with one network configuration, and cnitool on it. */
class Runtime implements Disposable {
  readonly node: BridgeNode = new BridgeNode();
  readonly #undo = new DisposableStack();
  readonly #list: Shown;
  readonly #capabilities: unknown;

  constructor(list: Shown, capabilities: unknown = {}) {
    this.#list = list;
    this.#capabilities = capabilities;
    const conf = `${this.node.dir}/net.d`;
    Deno.mkdirSync(conf);
    Deno.writeTextFileSync(`${conf}/10-${list.name}.conflist`, JSON.stringify(list));
    for (const dir of ["/var/lib/cni", CACHE]) {
      try {
        Deno.mkdirSync(dir);
        this.#undo.defer(() => Deno.removeSync(dir, { recursive: true }));
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
    }
  }

  /** Runs cnitool for the pod; returns what it printed. */
  tool(command: string, { fails = false } = {}): Shown {
    const { success, stdout, stderr } = within(this.node.path, () =>
      new Deno.Command("cnitool", {
        args: [command, this.#list.name, this.node.podOf("c1")],
        env: {
          CNI_PATH: this.node.plugins,
          NETCONFPATH: `${this.node.dir}/net.d`,
          CAP_ARGS: JSON.stringify(this.#capabilities),
        },
      }).outputSync());
    const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert.equal(success, !fails, `cnitool ${command}: ${err}${out}`);
    return fails || out.trim() === "" ? out + err : JSON.parse(out);
  }

  /** Names of the kept results. */
  cached(): string[] {
    return [...Deno.readDirSync(CACHE)].map(({ name }) => name);
  }

  /** The NAT rules of the node. */
  nat(): string {
    return this.node.sh("iptables-save -t nat");
  }

  [Symbol.dispose](): void {
    this.#undo[Symbol.dispose]();
    this.node[Symbol.dispose]();
  }
}

const PORTS = {
  portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
};

Deno.test("CH01 cnitool: bridge and portmap in 1.1.0", () => {
  using runtime = new Runtime({
    cniVersion: "1.1.0",
    name: "dbnet",
    plugins: [
      {
        type: "bridge",
        bridge: "br0",
        isDefaultGateway: true,
        ipMasq: true,
        ipam: { type: "host-local", subnet: "10.1.2.0/24", dataDir: "/run/twill-ch01" },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  }, PORTS);
  using _store = {
    [Symbol.dispose]: () => Deno.removeSync("/run/twill-ch01", { recursive: true }),
  };
  const reserved = (): string[] =>
    [...Deno.readDirSync("/run/twill-ch01/dbnet")].map(({ name }) => name)
      .filter((name) => /^\d/.test(name));
  runtime.tool("status");
  const result = runtime.tool("add");
  assert.equal(result.cniVersion, "1.1.0");
  assert.equal(result.ips[0].address, "10.1.2.2/24");
  assert.deepEqual(result.interfaces.map((one: Shown) => one.name).slice(0, 1), ["br0"]);
  assert.match(runtime.nat(), /--to-destination 10\.1\.2\.2:80/);
  assert.match(runtime.nat(), /10\.1\.2\.2\/32 .*-j CNI-/);
  const [cached = ""] = runtime.cached();
  assert.match(cached, /^dbnet-cnitool-[0-9a-f]{20}-eth0$/);
  assert.equal(JSON.parse(Deno.readTextFileSync(`${CACHE}/${cached}`)).kind, "cniCacheV1");
  runtime.tool("check");
  runtime.tool("status");
  // cnitool passes no list of attachments, and libcni deletes what is in its cache before.
  runtime.tool("gc");
  assert.deepEqual(reserved(), runtime.cached().length === 0 ? [] : ["10.1.2.2"]);
  runtime.tool("del");
  runtime.tool("del");
  assert.deepEqual(runtime.cached(), []);
  assert.deepEqual(reserved(), []);
  assert.doesNotMatch(runtime.nat(), /10\.1\.2\.2/);
  assert.deepEqual(runtime.node.links(), ["br0"]);
});

Deno.test("CH01 cnitool: check and status find what is broken", () => {
  using runtime = new Runtime({
    cniVersion: "1.1.0",
    name: "dbnet",
    plugins: [{
      type: "bridge",
      bridge: "br0",
      isDefaultGateway: true,
      ipam: { type: "host-local", subnet: "10.1.2.0/24", dataDir: "/run/twill-ch01" },
    }],
  });
  runtime.tool("add");
  run("ip", "-n", runtime.node.podOf("c1").split("/").at(-1)!, "route", "delete", "default");
  assert.match(runtime.tool("check", { fails: true }), /Expected Route/);
  runtime.tool("del");
  Deno.removeSync("/run/twill-ch01", { recursive: true });
  Deno.writeTextFileSync("/run/twill-ch01", "");
  using _store = { [Symbol.dispose]: () => Deno.removeSync("/run/twill-ch01") };
  assert.match(runtime.tool("status", { fails: true }), /address store/);
});

/** The list that flannel's manifest puts on every node; the paths are this test's own. */
function stockList(dir: string): Shown {
  return {
    name: "cbr0",
    cniVersion: "0.3.1",
    plugins: [
      {
        type: "flannel",
        subnetFile: `${dir}/subnet.env`,
        dataDir: `${dir}/flannel`,
        ipam: { dataDir: `${dir}/networks` },
        delegate: { hairpinMode: true, isDefaultGateway: true },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

Deno.test("FL15 cnitool: the list of flannel's manifest, whose DEL has no prevResult", () => {
  const dir = Deno.makeTempDirSync({ prefix: "twill-fl15-" });
  using _dir = { [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }) };
  using runtime = new Runtime(stockList(dir), PORTS);
  const { node } = runtime;
  const env = { NETWORK: "10.1.0.0/16", SUBNET: "10.1.17.1/24", MTU: "1472", IPMASQ: "false" };
  Deno.writeTextFileSync(
    `${dir}/subnet.env`,
    Object.entries(env).map(([key, value]) => `FLANNEL_${key}=${value}\n`).join(""),
  );
  const before = runtime.nat();
  const result = runtime.tool("add");
  assert.equal(result.cniVersion, "0.3.1");
  assert.deepEqual(
    [result.ips[0].version, result.ips[0].address, result.ips[0].gateway],
    ["4", "10.1.17.2/24", "10.1.17.1"],
  );
  assert.deepEqual(
    node.ipIn("c1", "route", "show").map(({ dst, gateway }) => [dst, gateway]).sort(),
    [["10.1.0.0/16", "10.1.17.1"], ["10.1.17.0/24", undefined], ["default", "10.1.17.1"]],
  );
  const [eth0] = node.ipIn("c1", "link", "show", "eth0");
  assert.equal(eth0.mtu, 1472);
  const port = node.ip("link", "show").find((link) => link.master === "cni0");
  assert.equal(port.linkinfo.info_slave_data.hairpin, true);
  assert.match(runtime.nat(), /--dport 8080 -j DNAT --to-destination 10\.1\.17\.2:80/);
  assert.match(runtime.nat(), /-s 10\.1\.17\.2\/32 .*-j CNI-/);

  Deno.removeSync(`${dir}/subnet.env`); // FL16: DEL does not need it
  runtime.tool("del");
  const ofPod = (text: string): string[] =>
    text.split("\n").filter((line) => /10\.1\.17\.2|CNI-(?:DN-)?[0-9a-f]{5}/.test(line));
  assert.deepEqual(ofPod(before), []);
  assert.deepEqual(ofPod(runtime.nat()), []);
  assert.deepEqual([...Deno.readDirSync(`${dir}/flannel`)], []);
  assert.deepEqual(
    [...Deno.readDirSync(`${dir}/networks/cbr0`)].map(({ name }) => name).sort(),
    ["last_reserved_ip.0", "lock"],
  );
  assert.deepEqual(node.links(), ["cni0"]);
  assert.deepEqual(runtime.cached(), []);
  runtime.tool("del");
});

Deno.test("FL15 cnitool: the list that install writes, one plugin, in the newest version", () => {
  const dir = Deno.makeTempDirSync({ prefix: "twill-fl15-" });
  using _dir = { [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }) };
  const list = JSON.parse(conflistText());
  const [flannel] = stockList(dir).plugins;
  using runtime = new Runtime({ ...list, plugins: [{ ...flannel, ...list.plugins[0] }] }, {
    ...PORTS,
    bandwidth: { ingressRate: 1e6, ingressBurst: 1e6, egressRate: 1e6, egressBurst: 1e6 },
  });
  const { node } = runtime;
  assert.match(runtime.tool("status", { fails: true }), /subnet\.env/);
  const env = { NETWORK: "10.1.0.0/16", SUBNET: "10.1.17.1/24", MTU: "1472", IPMASQ: "true" };
  Deno.writeTextFileSync(
    `${dir}/subnet.env`,
    Object.entries(env).map(([key, value]) => `FLANNEL_${key}=${value}\n`).join(""),
  );
  runtime.tool("status");
  const rules = (): string => node.sh("nft list ruleset");
  const result = runtime.tool("add");
  assert.deepEqual([result.cniVersion, result.interfaces.length], ["1.1.0", 4]);
  assert.match(rules(), /dnat to 10\.1\.17\.2:80/);
  runtime.tool("check");
  runtime.tool("gc");
  runtime.tool("del");
  runtime.tool("del");
  assert.doesNotMatch(rules(), /10\.1\.17\.2/);
  assert.deepEqual([node.links(), runtime.cached()], [["cni0"], []]);
});

Deno.test("CH10 loopback and bridge at the same moment", async () => {
  using node = new BridgeNode();
  const netns = node.podOf("c1");
  for (let round = 0; round < 3; round++) {
    const ways = await Promise.all([
      node.take({ command: "ADD", want: { ok: true } }),
      node.call({
        plugin: "loopback",
        env: { CNI_COMMAND: "ADD", CNI_NETNS: netns, CNI_IFNAME: "lo" },
        config: { cniVersion: "0.3.1", name: "cni-loopback" },
      }),
    ]);
    assert.deepEqual(ways.map(({ status }) => status), [0, 0], JSON.stringify(ways));
    assert.equal(node.ipIn("c1", "link", "show").filter((l) => l.flags.includes("UP")).length, 2);
    await node.take({ command: "DEL", want: { ok: true } });
  }
});
