/**
 * The lab: nodes on one underlay network, a store, and a host outside, all in namespaces.
 *
 * ```text
 *   node  192.168.200.11 ─┐
 *   node  192.168.200.12 ─┤ wire ├─ 192.168.200.10  store (etcd)
 *   node  192.168.200.13 ─┘      └─ 192.168.200.1   outside, which is also 203.0.113.10
 * ```
 *
 * The host outside is every node's default gateway, and knows no way back to any pod: only what
 * bears a node's address is answered.
 *
 * Nothing here has a name that another lab could have too: places are known by their processes.
 *
 * @module
 */

import { Hopeless, until } from "./command.ts";
import { Etcd } from "./etcd.ts";
import { HEALTH_PORT, Node, type NodeOptions } from "./node.ts";
import { PluginError } from "./runtime.ts";
import { END_OF_LOG } from "./service.ts";
import { Space } from "./space.ts";

/** Where flannel keeps its keys. */
export const PREFIX = "/coreos.com/network";

/** Address of the host outside. */
export const OUTSIDE = "203.0.113.10";

const GATEWAY = "192.168.200.1";
const STORE = "192.168.200.10";

/** What a lab is made with. */
export interface LabOptions {
  /** The nodes, by name or with plugins of their own; default those of kind's clusters. */
  readonly nodes?: readonly (string | Pick<NodeOptions, "name" | "plugins">)[];
  /** MTU of the underlay; default 1500. */
  readonly mtu?: number;
  /** The net-conf in etcd; false for a lab without etcd. Default flannel's own example. */
  readonly network?: Readonly<Record<string, unknown>> | false;
  /** Whether there is a host outside; default true. */
  readonly outside?: boolean;
}

/** The pod network of kind and of flannel's manifest. */
export const NETWORK = { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } } as const;

/** A running lab. Disposing of it leaves nothing behind. */
export class Lab implements AsyncDisposable {
  /** In the order of their addresses. */
  readonly nodes: readonly Node[];
  /** The underlay's bridge is here, with one port per place, named as the place. */
  readonly wire: Space;
  /** Folder with the logs of everything. */
  readonly folder: string;
  readonly mtu: number;
  readonly #etcd: Etcd | undefined;
  readonly #outside: Space | undefined;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    nodes: readonly Node[];
    wire: Space;
    folder: string;
    mtu: number;
    etcd: Etcd | undefined;
    outside: Space | undefined;
    stack: AsyncDisposableStack;
  }) {
    this.nodes = parts.nodes;
    this.wire = parts.wire;
    this.folder = parts.folder;
    this.mtu = parts.mtu;
    this.#etcd = parts.etcd;
    this.#outside = parts.outside;
    this.#stack = parts.stack;
  }

  /** Builds a lab: nodes without daemons, a store with the net-conf in it. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    const { nodes: wanted = ["control-plane", "worker", "worker2"], mtu = 1500 } = options;
    const { network = NETWORK, outside: withOutside = true } = options;
    if (Deno.env.get("TWILL_ISOLATED") !== "1") {
      throw new Error("Cannot build the lab here: run it with tools/isolate, as tools/test does");
    }
    await using stack = new AsyncDisposableStack();
    const folder = stack.adopt(
      Deno.makeTempDirSync({ dir: "/run", prefix: "twill-lab-" }),
      (path) => Deno.removeSync(path, { recursive: true }),
    );
    const make = async <S extends Space>(space: Promise<S>): Promise<S> => stack.use(await space);
    const [wire, store, outside, ...nodes] = await settled([
      make(Space.create({ name: "wire", folder })),
      network === false ? undefined : make(Space.create({ name: "store", folder })),
      withOutside ? make(Space.create({ name: "outside", folder })) : undefined,
      ...wanted.map((node, i) => {
        const own = typeof node === "string" ? { name: node } : node;
        return make(Node.create({ ...own, folder, address: `192.168.200.${11 + i}` }));
      }),
    ]);
    if (wire === undefined) throw new TypeError("no wire");
    await layWire(wire, mtu);
    if (outside) await connect(wire, outside, { address: GATEWAY, mtu });
    if (store) await connect(wire, store, { address: STORE, mtu });
    for (const node of nodes as Node[]) {
      const gateway = outside ? { gateway: GATEWAY } : {};
      await connect(wire, node, { address: node.address, mtu, ...gateway });
    }
    const etcd = store && new Etcd(store, STORE, `${folder}/etcd`);
    await settled([
      etcd?.start().then(() => etcd.must("put", `${PREFIX}/config`, JSON.stringify(network))),
      outside && listen(outside),
    ]);
    const parts = { nodes: nodes as Node[], wire, folder, mtu, etcd, outside };
    return new Lab({ ...parts, stack: stack.move() });
  }

  /** A node by its name. */
  node(name: string): Node {
    const node = this.nodes.find((one) => one.name === name);
    if (node === undefined) throw new RangeError(`no node "${name}" in this lab`);
    return node;
  }

  /** The store. */
  get etcd(): Etcd {
    if (this.#etcd === undefined) throw new TypeError("this lab has no etcd");
    return this.#etcd;
  }

  /** The host outside. */
  get outside(): Space {
    if (this.#outside === undefined) throw new TypeError("this lab has no outside");
    return this.#outside;
  }

  /** flanneld's flags for a node of this lab with etcd. */
  get flags(): readonly string[] {
    return [
      `--etcd-endpoints=${this.etcd.endpoint}`,
      "--iface=eth0",
      "--ip-masq",
      `--healthz-port=${HEALTH_PORT}`,
    ];
  }

  /** Starts the daemon on every node, and waits until all are ready and know each other. */
  async startDaemons(flags: readonly string[] = this.flags): Promise<void> {
    await settled(this.nodes.map((node) => node.startDaemon({ flags })));
    await settled(this.nodes.map((node) => node.ready()));
    await settled(this.nodes.map((node) => this.knowsPeers(node)));
  }

  /** Waits until a node has a route to each other node's pods. */
  async knowsPeers(node: Node): Promise<void> {
    const want = this.nodes.length - 1;
    await until(`${node.name} has ${want} routes to other nodes`, async () => {
      const routes = await node.must([
        "ip",
        "-4",
        "route",
        "show",
        "dev",
        "flannel.1",
      ]);
      return routes.split("\n").filter((line) => line.includes(" via ")).length === want;
    }, { explain: () => node.daemon?.tail() ?? "" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** What went wrong, with the ends of the daemons' logs where they may say why. */
export function explain(error: unknown, { nodes }: Lab): string {
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof PluginError || message.includes(END_OF_LOG);
  const logs = known ? [] : nodes.map(({ name, daemon }) => `${name}: ${daemon?.tail(8)}`);
  return [message, ...logs].join("\n");
}

/** All of them, also when one fails: nothing may be left half made when the lab is taken back. */
async function settled<T extends readonly unknown[]>(
  all: readonly [...T],
): Promise<{ -readonly [I in keyof T]: Awaited<T[I]> }> {
  await Promise.allSettled(all);
  return await Promise.all(all);
}

/** A switch that forwards at once, learns addresses, and says nothing itself. */
async function layWire(wire: Space, mtu: number): Promise<void> {
  // With IPv6 its ports would speak too. A kernel without IPv6 has no such switch.
  const off = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
  await wire.must(["sh", "-c", `[ ! -e ${off} ] || echo 1 >${off}`]);
  const quiet = "mcast_snooping 0 forward_delay 0 stp_state 0";
  await wire.ip(
    `link add name wire mtu ${mtu} type bridge ${quiet}`,
    "link set wire up",
  );
}

/** Plugs a place into the wire: its `eth0` gets this address. */
async function connect(
  wire: Space,
  space: Space,
  { address, mtu, gateway }: { address: string; mtu: number; gateway?: string },
): Promise<void> {
  const far = `peer name eth0 netns ${space.pid} mtu ${mtu}`;
  await wire.ip(
    `link add name ${space.name} mtu ${mtu} type veth ${far}`,
    `link set dev ${space.name} master wire up`,
  );
  await space.ip(
    `address add ${address}/24 dev eth0`,
    "link set eth0 up",
    ...(gateway === undefined ? [] : [`route add default via ${gateway}`]),
  );
}

/** Starts the server that tells its clients who they are. */
async function listen(outside: Space): Promise<void> {
  await outside.ip(`address add ${OUTSIDE}/32 dev lo`);
  const script = new URL("whoami.ts", import.meta.url).pathname;
  const flags = ["--quiet", "--no-config", "--no-lock", "--no-check", "--allow-net"];
  const server = await outside.start("whoami", [Deno.execPath(), "run", ...flags, script]);
  await until("the host outside listens", () => {
    if (server.code !== undefined) throw new Hopeless("the server has ended");
    return Deno.readTextFileSync(server.log).includes("listening");
  }, { explain: () => server.tail() });
}
