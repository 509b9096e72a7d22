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
 * bears a node's address is answered. Nodes that are `far` are on a second wire, 192.168.201.0/24,
 * for which that host is the router.
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

/** The underlay: two wires, each with the host outside as gateway. */
const WIRES = {
  near: { bridge: "wire", net: "192.168.200", net6: "fd00:200" },
  far: { bridge: "far", net: "192.168.201", net6: "fd00:201" },
} as const;
type Wire = keyof typeof WIRES;

const STORE = `${WIRES.near.net}.10`;

/** What a lab is made with. */
export interface LabOptions {
  /** The nodes, by name or with plugins of their own; default those of kind's clusters. */
  readonly nodes?: readonly (string | NodeWish)[];
  /** MTU of the underlay; default 1500. */
  readonly mtu?: number;
  /** The net-conf in etcd; false for a lab without etcd. Default flannel's own example. */
  readonly network?: Readonly<Record<string, unknown>> | false;
  /** Whether there is a host outside; default true. */
  readonly outside?: boolean;
  /** Whether nodes have IPv6 addresses on the underlay too: fd00:200::11 and on; default false. */
  readonly ipv6?: boolean;
}

/** One node of a lab. */
export interface NodeWish extends Pick<NodeOptions, "name" | "plugins"> {
  /** On the second wire, behind the router. */
  readonly far?: boolean;
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
    const { nodes: names = ["control-plane", "worker", "worker2"], mtu = 1500 } = options;
    const { network = NETWORK, outside: withOutside = true, ipv6 = false } = options;
    const wanted = names.map((node) => typeof node === "string" ? { name: node } : node);
    const wireOf = ({ far }: NodeWish): Wire => far ? "far" : "near";
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
      ...wanted.map((wish, i) => {
        const { net, net6 } = WIRES[wireOf(wish)];
        const address = `${net}.${11 + i}`;
        const address6 = ipv6 ? { address6: `${net6}::${11 + i}` } : {};
        return make(Node.create({ ...wish, folder, address, ...address6 }));
      }),
    ]);
    if (wire === undefined) throw new TypeError("no wire");
    const wires = new Set<Wire>(["near", ...wanted.map(wireOf)]);
    for (const name of wires) {
      const { bridge, net } = WIRES[name];
      await layWire(wire, bridge, mtu);
      const leg = { wire: bridge, dev: name === "near" ? "eth0" : "eth1", mtu };
      if (outside) await connect(wire, outside, { ...leg, addresses: [`${net}.1/24`] });
    }
    if (store) await connect(wire, store, { wire: "wire", addresses: [`${STORE}/24`], mtu });
    if (wires.size > 1) await outside?.must(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    const gatewayOf = (net: string): { gateway?: string } => outside ? { gateway: `${net}.1` } : {};
    if (store) await route(store, gatewayOf(WIRES.near.net));
    for (const [i, node] of (nodes as Node[]).entries()) {
      const { bridge, net } = WIRES[wireOf(wanted[i] as NodeWish)];
      const v6 = node.address6 === undefined ? [] : [`${node.address6}/64`];
      await connect(wire, node, { wire: bridge, addresses: [`${node.address}/24`, ...v6], mtu });
      await route(node, gatewayOf(net));
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
async function layWire(wire: Space, name: string, mtu: number): Promise<void> {
  // With IPv6 its ports would speak too. A kernel without IPv6 has no such switch.
  const off = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
  await wire.must(["sh", "-c", `[ ! -e ${off} ] || echo 1 >${off}`]);
  const quiet = "mcast_snooping 0 forward_delay 0 stp_state 0";
  await wire.ip(
    `link add name ${name} mtu ${mtu} type bridge ${quiet}`,
    `link set ${name} up`,
  );
}

/** What a place gets on a wire. */
export interface Leg {
  /** The wire: `wire`, or `far`. */
  readonly wire: string;
  /** The place's end; default `eth0`. */
  readonly dev?: string;
  /** With lengths. */
  readonly addresses: readonly string[];
  readonly mtu: number;
}

/** Plugs a place into a wire. */
export async function connect(
  space: Space,
  place: Space,
  { wire, dev = "eth0", addresses, mtu }: Leg,
): Promise<void> {
  const port = dev === "eth0" ? place.name : `${place.name}-${dev}`;
  await space.ip(
    `link add name ${port} mtu ${mtu} type veth peer name ${dev} netns ${place.pid} mtu ${mtu}`,
    `link set dev ${port} master ${wire} up`,
  );
  await place.ip(
    // There is nobody who could have the address already, and the wait would be a second.
    ...addresses.map((ip) => `address add ${ip} dev ${dev}${ip.includes(":") ? " nodad" : ""}`),
    `link set ${dev} up`,
  );
}

async function route(place: Space, { gateway }: { gateway?: string }): Promise<void> {
  if (gateway !== undefined) await place.ip(`route add default via ${gateway}`);
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
