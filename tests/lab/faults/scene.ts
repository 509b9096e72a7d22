/**
 * Where faults happen: two nodes with daemons and a pod each, peers that exist only in the store,
 * and the judge's question after each fault: does every kernel hold what it should?
 *
 * @module
 */

import { Lab } from "../lab.ts";
import type { Node, Pod } from "../node.ts";
import { signal } from "../command.ts";
import {
  difference,
  kernelLines,
  keyOf,
  type Lease,
  overlayLines,
  readLeases,
  valueOf,
} from "./oracle.ts";
import { Pinger } from "./pinger.ts";
import type { Random } from "./random.ts";

/** The target of design §6 is half a second; this is where a test fails, on any machine. */
export const DEADLINE = 5_000;

/** See the module. */
export class Scene implements AsyncDisposable {
  readonly lab: Lab;
  readonly random: Random;
  readonly pinger: Pinger;
  /** Lines of each kernel that are not the overlay's: nobody may touch them. */
  readonly #others = new Map<Node, Set<string>>();
  /** What the store said when it was last asked. */
  #leases = new Map<string, Lease>();
  /** The node that the next fault is for. */
  victim: Node;

  private constructor(lab: Lab, random: Random, pinger: Pinger) {
    this.lab = lab;
    this.random = random;
    this.pinger = pinger;
    this.victim = lab.nodes[0] as Node;
  }

  /** Builds it, with so many peers that are nothing but records. */
  static async create(random: Random, peers = 12): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await Lab.create({ nodes: ["one", "two"] }));
    await lab.startDaemons();
    const pods = [];
    for (const node of lab.nodes) pods.push(await node.addPod("pod"));
    const [one, two] = [lab.nodes[0] as Node, pods[1] as Pod];
    const pinger = stack.use(await Pinger.start(one, ["ip", "netns", "exec", "pod"], two.ip));
    const scene = new Scene(lab, random, pinger);
    await scene.ask();
    for (let i = 0; i < peers; i++) await scene.put(scene.newPeer());
    for (const node of lab.nodes) {
      const overlay = new Set(scene.wanted(node));
      const others = (await kernelLines(node)).filter((line) => !overlay.has(line));
      // Peers may still be on their way into the kernel: nothing of them is somebody else's.
      scene.#others.set(
        node,
        new Set(others.filter((line) => !/flannel\.1|^(?:fdb|neigh|chain)| rule /.test(line))),
      );
    }
    const found = await scene.heals();
    if (typeof found !== "number") throw new Error(`before any fault:\n${found.join("\n")}`);
    stack.move();
    return scene;
  }

  /** Asks the store what it holds. */
  async ask(): Promise<void> {
    this.#leases = await readLeases(this.lab.etcd, this.#leases);
  }

  /** Peers that are nothing but records. */
  get peers(): Lease[] {
    const real = new Set(this.lab.nodes.map(({ address }) => address));
    return [...this.#leases.values()].filter(({ publicIp }) => !real.has(publicIp));
  }

  /** The lease of a real node. */
  leaseOf(node: Node): Lease {
    const lease = [...this.#leases.values()].find(({ publicIp }) => publicIp === node.address);
    if (lease === undefined) throw new Error(`the store has no lease of ${node.name}`);
    return lease;
  }

  /** A subnet that no lease has, and the key's name of it. */
  freeSubnet(): string {
    const taken = new Set([...this.#leases.values()].map(({ subnet }) => subnet));
    for (;;) {
      const subnet = `10.244.${this.random.within(1, 254)}.0/24`;
      if (!taken.has(subnet)) return subnet;
    }
  }

  /** A peer that is not in the store yet. */
  newPeer(): Lease {
    return { subnet: this.freeSubnet(), publicIp: this.freeAddress(), mac: this.random.mac() };
  }

  /** An address on the underlay that nobody has. */
  freeAddress(): string {
    const taken = new Set([...this.#leases.values()].map(({ publicIp }) => publicIp));
    for (;;) {
      const address = `192.168.200.${this.random.within(50, 250)}`;
      if (!taken.has(address)) return address;
    }
  }

  /** Writes a lease with etcdctl, and what we know of the store with it. */
  async put(lease: Lease, ...options: readonly string[]): Promise<void> {
    await this.lab.etcd.must("put", ...options, keyOf(lease.subnet), valueOf(lease));
    this.#leases.set(lease.subnet.split("/")[0] as string, lease);
  }

  /** Removes a lease with etcdctl, and from what we know of the store. */
  async remove({ subnet }: Lease): Promise<void> {
    await this.lab.etcd.must("del", keyOf(subnet));
    this.#leases.delete(subnet.split("/")[0] as string);
  }

  /** Something foreign is in a node's kernel now, in the judge's words. */
  addForeign(node: Node, ...lines: readonly string[]): void {
    for (const line of lines) this.#others.get(node)?.add(line);
  }

  /** It is taken away again by whoever added it. */
  dropForeign(node: Node, drop: (line: string) => boolean): void {
    const others = this.#others.get(node);
    for (const line of [...others ?? []]) if (drop(line)) others?.delete(line);
  }

  /** All lines that a node's kernel should have. */
  wanted(node: Node): string[] {
    const overlay = overlayLines(this.#leases.values(), node, this.lab.mtu);
    return [...overlay, ...this.#others.get(node) ?? []];
  }

  /** How a node's kernel, and its subnet file, differ from what they should be. */
  async differs(node: Node): Promise<string[]> {
    const lines = difference(this.wanted(node), await kernelLines(node));
    const own = this.leaseOf(node).subnet.replace("0/24", "1/24");
    const file = node.read("/run/flannel/subnet.env") ?? "";
    if (!file.includes(`FLANNEL_SUBNET=${own}\n`)) lines.push(`- subnet.env with ${own}`);
    return lines.map((line) => `${node.name}: ${line}`);
  }

  /** The same for all nodes. */
  async difference(): Promise<string[]> {
    return (await Promise.all(this.lab.nodes.map((node) => this.differs(node)))).flat();
  }

  /**
   * Waits until every kernel is as it should be.
   *
   * @returns Milliseconds until the look that found it so began; or what differs at the deadline.
   */
  async heals(deadline = DEADLINE): Promise<number | string[]> {
    const began = performance.now();
    let waiting: readonly Node[] = this.lab.nodes;
    for (;;) {
      const look = performance.now() - began;
      const found = await Promise.all(waiting.map((node) => this.differs(node)));
      waiting = waiting.filter((_, i) => found[i]?.length !== 0);
      if (waiting.length === 0) return Math.round(look);
      if (look > deadline) return found.flat();
    }
  }

  /** The judge must see a fault while the daemon cannot repair it: or the run would prove nothing. */
  async mustBite(kind: string): Promise<void> {
    if ((await this.differs(this.victim)).length > 0) return;
    throw new Error(`${kind}: the judge sees no difference while the daemon is away`);
  }

  /** Stops the victim's daemon where it is. */
  freeze(): void {
    signal(this.#daemon().pid, "SIGSTOP");
  }

  /** Lets it go on. */
  thaw(): void {
    signal(this.#daemon().pid, "SIGCONT");
  }

  /** Kills the victim's daemon. */
  async kill(name: Deno.Signal = "SIGKILL"): Promise<void> {
    await this.#daemon().stop(name);
  }

  /** Starts the victim's daemon again. */
  async restart(): Promise<void> {
    await this.victim.startDaemon({ flags: this.lab.flags });
  }

  #daemon(): NonNullable<Node["daemon"]> {
    const { daemon, name } = this.victim;
    if (daemon === undefined) throw new Error(`${name} has no daemon`);
    return daemon;
  }

  /** What the daemons said last, for a failure. */
  tails(): string {
    return this.lab.nodes.map(({ name, daemon }) => `${name}: ${daemon?.tail(12)}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
  }
}
