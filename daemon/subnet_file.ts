/**
 * The subnet file: what tells the plugin that this node has a subnet and is ready for pods.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import {
  addressOf,
  type Cidr,
  type Inet,
  inetOf,
  ipPlus,
  lengthOf,
  networkOf,
} from "../engine/ip.ts";
import type { LeaseSubnets } from "../engine/lease.ts";
import type { NetConf } from "../engine/net_conf.ts";
import {
  formatSubnetEnv,
  type PreviousEnv,
  readPreviousEnv,
  type SubnetEnv,
} from "../engine/subnet_env.ts";

/**
 * What the file says of a node.
 *
 * @param mtu of pods, bytes.
 */
export function subnetEnvOf(
  { families }: NetConf,
  { subnet, subnet6 }: LeaseSubnets,
  mtu: number,
  ipMasq: boolean,
): SubnetEnv {
  const [network, network6] = [
    families[4].enabled ? families[4].network : undefined,
    families[6].enabled ? families[6].network : undefined,
  ];
  return {
    networks: network === undefined ? [] : [network],
    ...(subnet === undefined ? {} : { subnet: firstAddress(subnet) }),
    networks6: network6 === undefined ? [] : [network6],
    ...(subnet6 === undefined ? {} : { subnet6: firstAddress(subnet6) }),
    mtu,
    ipMasq,
  };
}

/** The subnet as the file writes it: by its first usable address, which is the pods' gateway. */
export function firstAddress(subnet: Cidr): Inet {
  return inetOf(ipPlus(addressOf(subnet), 1n), lengthOf(subnet));
}

/** The file of one node. */
export class SubnetFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** What the last run left; empty when there is no file. @throws {OpError} when unreadable */
  previous(): PreviousEnv {
    return readPreviousEnv(this.#text());
  }

  #text(): string {
    try {
      return Deno.readTextFileSync(this.#path);
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return "";
      throw this.#failure("read", cause);
    }
  }

  /**
   * Takes the file away when it names another subnet: pods would start in one that is not ours.
   *
   * @returns The subnets it named, when it was taken away.
   * @throws {OpError} when it cannot be read or removed.
   */
  retract(env: SubnetEnv): readonly Cidr[] {
    const before = this.previous();
    const pairs = [[before.subnet, env.subnet], [before.subnet6, env.subnet6]] as const;
    const other = pairs.filter(([old, own]) =>
      old !== undefined && old !== (own && networkOf(own) as Cidr)
    );
    if (other.length === 0) return [];
    try {
      Deno.removeSync(this.#path);
    } catch (cause) {
      throw this.#failure("remove", cause);
    }
    return other.flatMap(([old]) => old ?? []);
  }

  /**
   * Replaces the file in one step: a reader sees the old content or the new one, never a part.
   * Directory 0755 and file 0644, whatever the umask. A file that says the same already stays.
   *
   * @returns True when it was written.
   * @throws {OpError} when it cannot be.
   */
  publish(env: SubnetEnv): boolean {
    const text = formatSubnetEnv(env);
    if (this.#text() === text) return false;
    const sibling = `${this.#path}.${Deno.pid}.tmp`;
    try {
      const slash = this.#path.lastIndexOf("/");
      if (slash > 0) Deno.mkdirSync(this.#path.slice(0, slash), { recursive: true, mode: 0o755 });
      using undo = new DisposableStack();
      using file = Deno.openSync(sibling, { write: true, create: true, truncate: true });
      undo.defer(() => Deno.removeSync(sibling));
      Deno.chmodSync(sibling, 0o644);
      const bytes = new TextEncoder().encode(text);
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      file.syncSync();
      Deno.renameSync(sibling, this.#path);
      undo.move();
    } catch (cause) {
      throw this.#failure("write", cause);
    }
    return true;
  }

  #failure(deed: string, cause: unknown): OpError {
    return new OpError(deed, this.#path, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      advice: "Check the directory's owner and free space, or choose another --subnet-file",
      cause,
    });
  }
}
