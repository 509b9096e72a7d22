/**
 * Marks: which node of twill holds a lease. flannel's lease says only an address, and two nodes can
 * have the same one; they would share a subnet. So each node of twill writes, in the same step as
 * its lease, `<prefix>/twill/<lease name>` with its own id, where flannel never looks. A lease
 * without a mark is flannel's or of before, and belongs to whoever has its address.
 *
 * A mark ends with the lease that it stands for: it is bound to the same etcd lease, and one that is
 * bound to another is a left-over and says nothing. Reservations have no etcd lease; their marks
 * have one of their own.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { Fields, jsonObject, parseJson, stringifyJson } from "../../engine/json.ts";
import { leaseKey, type LeaseSubnets } from "../../engine/lease.ts";
import type { Log } from "../log.ts";
import type { EtcdApi } from "./etcd.ts";
import type { EtcdRecord, PutCondition } from "./etcd_api.ts";
import type { RecordClaim } from "./etcd_view.ts";
import type { NodeIdentity } from "./node_id.ts";

/** What a mark says. */
export interface Mark {
  readonly node: NodeIdentity;
  /** The address that the lease said when it was marked. */
  readonly publicIp: string;
  /** Id of the etcd lease that ends the mark. */
  readonly lease: string;
}

/** The mark as the value of its key. */
export function formatMark({ id, name }: NodeIdentity, publicIp: string): string {
  return stringifyJson(jsonObject({ node: name, id, publicIp }));
}

/** Reads a mark; undefined for what is none. */
export function parseMark({ value, lease }: Pick<EtcdRecord, "value" | "lease">): Mark | undefined {
  try {
    const fields = Fields.document(parseJson(value));
    const [id, name] = [fields.string("id"), fields.string("node") ?? ""];
    if (id === undefined) return undefined;
    return { node: { id, name }, publicIp: fields.string("publicIp") ?? "", lease };
  } catch {
    return undefined;
  }
}

/**
 * Who holds a lease, by its mark; undefined when the mark says nothing. One proof is not enough:
 * machines are copied with their id, renamed, or set up anew and lose it. Two of three are: the id,
 * the name, and that we had this subnet before (or that it is reserved for our address).
 *
 * @param previous the subnets that this node had before.
 */
export function holderOf(
  claim: Pick<RecordClaim, "publicIp" | "reserved" | "record" | "subnet">,
  mark: Mark | undefined,
  us: NodeIdentity,
  previous: LeaseSubnets,
): "us" | "another" | undefined {
  if (mark === undefined || mark.publicIp !== claim.publicIp) return undefined;
  if (!claim.reserved && mark.lease !== claim.record.lease) return undefined;
  const had = claim.reserved || claim.subnet !== undefined && claim.subnet === previous.subnet;
  const proofs = [mark.node.id === us.id, mark.node.name === us.name, had];
  return proofs.filter((proof) => proof).length >= 2 ? "us" : "another";
}

/** The marks below one prefix. */
export class Marks {
  readonly #etcd: EtcdApi;
  readonly #folder: string;
  readonly #us: NodeIdentity;
  readonly #log: Log;
  /** etcd lets us read and write marks. */
  #allowed = true;

  /** @param folder `<prefix>/twill/` */
  constructor(etcd: EtcdApi, folder: string, us: NodeIdentity, log: Log) {
    this.#etcd = etcd;
    this.#folder = folder;
    this.#us = us;
    this.#log = log;
  }

  /** What to write beside a lease; undefined where etcd does not let us. */
  beside(
    subnets: LeaseSubnets,
    publicIp: string | undefined,
    lease: string,
  ): PutCondition["also"] {
    if (!this.#allowed) return undefined;
    return { key: this.keyOf(subnets), value: formatMark(this.#us, publicIp ?? ""), lease };
  }

  /** The key of a lease's mark. */
  keyOf(subnets: LeaseSubnets): string {
    return this.#folder + leaseKey(subnets);
  }

  /** The claims, each with its holder; one request for all. @throws {OpError} */
  async judge<C extends RecordClaim>(
    claims: readonly C[],
    previous: LeaseSubnets,
    signal: AbortSignal,
  ): Promise<(C & { readonly mark?: Mark })[]> {
    const listed = await this.#may(() => this.#etcd.list(this.#folder, signal));
    const marks = new Map(listed?.records.map((record) => [record.key, parseMark(record)]));
    return claims.map((claim) => this.#judged(claim, marks.get(this.keyOf(claim)), previous));
  }

  /** The same for one claim. @throws {OpError} */
  async judgeOne<C extends RecordClaim>(
    claim: C,
    signal: AbortSignal,
  ): Promise<C & { readonly mark?: Mark }> {
    const record = await this.#may(() => this.#etcd.get(this.keyOf(claim), signal));
    return this.#judged(claim, record && parseMark(record), {});
  }

  #judged<C extends RecordClaim>(
    claim: C,
    mark: Mark | undefined,
    previous: LeaseSubnets,
  ): C & { readonly mark?: Mark } {
    const holder = holderOf(claim, mark, this.#us, previous);
    return { ...claim, ...(holder && { holder }), ...(mark && { mark }) };
  }

  /**
   * The task's result; undefined when etcd refuses it because of the mark, which costs marks from
   * then on and no more. Rights may be given for leases only.
   */
  async #may<T>(task: () => Promise<T>): Promise<T | undefined> {
    if (!this.#allowed) return undefined;
    try {
      return await task();
    } catch (e) {
      if (!this.refused(e)) throw e;
      return undefined;
    }
  }

  /** True when this is why a request with a mark failed; there are no marks from then on. */
  refused(error: unknown): boolean {
    if (!this.#allowed || !(error instanceof OpError) || error.code !== ErrorCode.denied) {
      return false;
    }
    this.#allowed = false;
    this.#log.warn("Nodes with the same public IP are not detected: etcd denies us the keys", {
      keys: this.#folder,
      advice: "Grant the etcd user's role to read and write them",
    });
    return true;
  }
}
