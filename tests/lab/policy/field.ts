/**
 * Two nodes with bridges and the nine pods of the case tables, wired by hand: real packets against
 * the tables of the engine, without a cluster.
 *
 * @module
 */

import { Space } from "../space.ts";
import { Actor } from "./actor.ts";

/** Where a pod is to stand. */
export interface Place {
  readonly name: string;
  /** 1 or 2. */
  readonly node: number;
  /** Without lengths; an IPv4 and an IPv6 address. */
  readonly ips: readonly string[];
}

/** See the module. */
export class Field implements AsyncDisposable {
  readonly nodes: readonly [Actor<Space>, Actor<Space>];
  readonly #pods = new Map<string, Actor<Space>>();
  readonly #owned: AsyncDisposableStack;

  private constructor(nodes: readonly [Actor<Space>, Actor<Space>], owned: AsyncDisposableStack) {
    this.nodes = nodes;
    this.#owned = owned;
  }

  /** Builds it; its files are below `folder`. */
  static async create(folder: string, places: readonly Place[]): Promise<Field> {
    await using undo = new AsyncDisposableStack();
    const spaces = [
      undo.use(await Space.create({ name: "node1", folder })),
      undo.use(await Space.create({ name: "node2", folder })),
    ] as const;
    const [first, second] = spaces;
    await first.ip(`link add up0 type veth peer name up0 netns ${second.pid}`);
    for (const [i, space] of spaces.entries()) {
      const [own, other] = [i + 1, 2 - i];
      await space.must([
        "sysctl",
        "-qw",
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
      ]);
      await space.ip(
        `addr add 172.31.0.${own}/24 dev up0`,
        `addr add fd00:31::${own}/64 dev up0 nodad`,
        "link set up0 up",
        "link add cni0 type bridge",
        `addr add 10.244.${own}.1/24 dev cni0`,
        `addr add fd00:10:244:${own}::1/64 dev cni0 nodad`,
        "link set cni0 up",
        `route add 10.244.${other}.0/24 via 172.31.0.${other}`,
        `route add fd00:10:244:${other}::/64 via fd00:31::${other}`,
      );
    }
    const nodes = [
      undo.use(await Actor.start(first)),
      undo.use(await Actor.start(second)),
    ] as const;
    const field = new Field(nodes, undo.move());
    for (const place of places) await field.#add(folder, place);
    return field;
  }

  async #add(folder: string, { name, node, ips }: Place): Promise<void> {
    const pod = this.#owned.use(
      await Space.create({ name: name.replace("/", "-"), folder }),
    );
    const { space } = this.node(node);
    const port = `veth${this.#pods.size}`;
    await space.ip(
      `link add ${port} type veth peer name eth0 netns ${pod.pid}`,
      `link set ${port} master cni0 up`,
      // As the plugin sets it: a pod that asks a Service may be the answer.
    );
    await space.must(["bridge", "link", "set", "dev", port, "hairpin", "on"]);
    const [v4, v6] = ips;
    await pod.ip(
      `addr add ${v4}/24 dev eth0`,
      `addr add ${v6}/64 dev eth0 nodad`,
      "link set eth0 up",
      `route add default via 10.244.${node}.1`,
      `route add default via fd00:10:244:${node}::1`,
    );
    this.#pods.set(name, this.#owned.use(await Actor.start(pod)));
  }

  /** @param node 1 or 2 */
  node(node: number): Actor<Space> {
    return this.nodes[node - 1]!;
  }

  /** A pod by `namespace/name`. */
  pod(name: string): Actor<Space> {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new RangeError(`no pod ${name}`);
    return pod;
  }

  /** Runs nft commands on a node as one transaction. */
  async nft(node: number, commands: string): Promise<void> {
    if (commands !== "") {
      await this.node(node).space.must(["nft", "-f", "-"], { stdin: commands });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}
