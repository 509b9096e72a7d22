/**
 * What a daemon knows, as one document: the answer of its status socket. The daemon writes it,
 * inspect reads it.
 *
 * @module
 */

import { Fields, type Json, jsonObject, parseJson, stringifyJson } from "./json.ts";
import { type Memory, memoryJson, readMemory } from "./memory.ts";
import { type PolicyStatus, policyStatusJson, readPolicyStatus } from "./policy/status.ts";

/** Something that is not as it should be, and why. */
export interface Trouble {
  /** A peer's subnets, a key of the store, `this node`. */
  readonly who: string;
  readonly reason: string;
}

/** The newest pass of the converge loop. */
export interface PassStatus {
  /** When it ended, as `Date.now()` counts. */
  readonly at: number;
  /** Why it ran, in words. */
  readonly cause: string;
  /** Milliseconds. */
  readonly took: number;
  /** Facts that it changed. */
  readonly changes: number;
  /** Peers in the store. */
  readonly peers: number;
  /** Peers whose every fact the kernel holds. */
  readonly programmed: number;
  readonly refused: readonly Trouble[];
  readonly unusable: readonly Trouble[];
  /** What is missing of this node's own. */
  readonly own: readonly Trouble[];
}

/** How the plugins' calls are served. */
export interface PluginStatus {
  /** The daemon listens for them. */
  readonly listening: boolean;
  /** Calls that were answered since the start. */
  readonly served: number;
  /** When the last one was, as `Date.now()` counts. */
  readonly lastServed?: number;
  /** Calls that were left to their client, by reason. */
  readonly left: Readonly<Record<string, number>>;
}

/** The whole document. */
export interface NodeStatus {
  /** Raised by every change of what is below; ages and counters of plugins do not count. */
  readonly revision: number;
  /** What `twill --version` prints. */
  readonly version: string;
  readonly instance: string;
  /** As `Date.now()` counts. */
  readonly started: number;
  /** Why the node is not ready; empty when it is. */
  readonly reasons: readonly string[];
  /** What is wrong but holds nothing back. */
  readonly remarks: readonly string[];
  readonly subnetFile: string;
  readonly masquerade: boolean;
  readonly store: {
    readonly name: string;
    readonly connected: boolean;
    readonly problem?: string;
    /** The store has not answered since the start: the snapshot of then is used. */
    readonly remembered?: number;
    /** Records that are no leases. */
    readonly bad: readonly Trouble[];
  };
  /** The interface for packets between nodes; absent until there is one. */
  readonly uplink?: { readonly name: string; readonly mtu: number };
  /** Configuration and leases as the daemon sees them; absent before it has a lease. */
  readonly leases?: Memory;
  readonly pass?: PassStatus;
  readonly plugins: PluginStatus;
  readonly policy: PolicyStatus;
}

/** The document as text. */
export function formatNodeStatus(status: NodeStatus): string {
  const { store, pass, plugins, leases } = status;
  return stringifyJson(
    jsonObject({
      schema: 1,
      kind: "daemon",
      revision: status.revision,
      version: status.version,
      instance: status.instance,
      started: iso(status.started),
      ready: status.reasons.length === 0,
      reasons: [...status.reasons],
      remarks: [...status.remarks],
      subnetFile: status.subnetFile,
      masquerade: status.masquerade,
      store: jsonObject({
        name: store.name,
        connected: store.connected,
        problem: store.problem,
        remembered: iso(store.remembered),
        bad: troubles(store.bad),
      }),
      uplink: status.uplink && jsonObject({ ...status.uplink }),
      leases: leases && memoryJson(leases),
      pass: pass && jsonObject({
        at: iso(pass.at),
        cause: pass.cause,
        milliseconds: Math.round(pass.took),
        changes: pass.changes,
        peers: pass.peers,
        programmed: pass.programmed,
        refused: troubles(pass.refused),
        unusable: troubles(pass.unusable),
        own: troubles(pass.own),
      }),
      plugins: jsonObject({
        listening: plugins.listening,
        served: plugins.served,
        lastServed: iso(plugins.lastServed),
        left: jsonObject({ ...plugins.left }),
      }),
      policy: policyStatusJson(status.policy),
    }),
    1,
  );
}

function iso(time: number | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString();
}

function troubles(list: readonly Trouble[]): Json[] {
  return list.map(({ who, reason }) => jsonObject({ who, reason }));
}

/** Reads {@link formatNodeStatus}'s text. @throws {SyntaxError} when it is anything else */
export function parseNodeStatus(text: string): NodeStatus {
  const fields = Fields.document(parseJson(text));
  if (fields.integer("schema") !== 1 || fields.string("kind") !== "daemon") {
    throw new SyntaxError("want schema 1 and kind daemon: is that another version of twill?");
  }
  const store = fields.fields("store");
  const plugins = fields.fields("plugins");
  const leases = fields.fields("leases");
  const pass = fields.fields("pass");
  const uplink = fields.fields("uplink");
  return {
    revision: fields.integer("revision") ?? 0,
    version: fields.string("version") ?? "",
    instance: fields.string("instance") ?? "",
    started: time(fields, "started") ?? 0,
    reasons: fields.strings("reasons") ?? [],
    remarks: fields.strings("remarks") ?? [],
    subnetFile: fields.string("subnetFile") ?? "",
    masquerade: fields.boolean("masquerade") ?? false,
    store: {
      name: store?.string("name") ?? "",
      connected: store?.boolean("connected") ?? false,
      ...defined("problem", store?.string("problem")),
      ...defined("remembered", store && time(store, "remembered")),
      bad: readTroubles(store, "bad"),
    },
    ...defined(
      "uplink",
      uplink && {
        name: uplink.string("name") ?? "",
        mtu: uplink.integer("mtu") ?? 0,
      },
    ),
    ...defined("leases", leases && readMemory(leases)),
    ...defined("pass", pass && readPass(pass)),
    plugins: {
      listening: plugins?.boolean("listening") ?? false,
      served: plugins?.integer("served") ?? 0,
      ...defined("lastServed", plugins && time(plugins, "lastServed")),
      left: readLeft(plugins?.fields("left")),
    },
    policy: readPolicyStatus(fields.fields("policy")),
  };
}

function readPass(pass: Fields): PassStatus {
  return {
    at: time(pass, "at") ?? 0,
    cause: pass.string("cause") ?? "",
    took: pass.integer("milliseconds") ?? 0,
    changes: pass.integer("changes") ?? 0,
    peers: pass.integer("peers") ?? 0,
    programmed: pass.integer("programmed") ?? 0,
    refused: readTroubles(pass, "refused"),
    unusable: readTroubles(pass, "unusable"),
    own: readTroubles(pass, "own"),
  };
}

function readTroubles(fields: Fields | undefined, name: string): Trouble[] {
  return (fields?.objects(name) ?? []).map((one) => ({
    who: one.string("who") ?? "",
    reason: one.string("reason") ?? "",
  }));
}

function readLeft(fields: Fields | undefined): Record<string, number> {
  const names = fields?.source.members.map(([name]) => name) ?? [];
  return Object.fromEntries(names.map((name) => [name, fields?.integer(name) ?? 0]));
}

function time(fields: Fields, name: string): number | undefined {
  const at = Date.parse(fields.string(name) ?? "");
  return Number.isNaN(at) ? undefined : at;
}

/** `{ key: value }`, or nothing when there is no value. */
function defined<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { readonly [P in K]: V };
}
