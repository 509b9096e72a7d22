/**
 * Which pod has which address, and what policies can see of it. Addresses are reused: a pod that
 * has ended may show an address that another has by now.
 *
 * @module
 */

import type { Ip } from "../ip.ts";
import { keyOf, type Namespace, type Pod } from "./model.ts";
import type { Labels } from "./selector.ts";

/** A pod that policies can see, with the addresses that are its own now. */
export interface View {
  readonly pod: Pod;
  readonly ips: readonly Ip[];
  /** Of its namespace; absent while the namespace is not known: no selector of them matches. */
  readonly namespace: Labels | undefined;
}

/** How a view changed. */
export interface Move {
  readonly key: string;
  readonly before: View | undefined;
  readonly after: View | undefined;
}

/**
 * A pod that was just given an address, by the plugin's word: it has the address before the API
 * says so, whoever else still shows it there.
 */
export interface Placement {
  /** `namespace/name`. */
  readonly key: string;
  /** Empty when the runtime does not say it. */
  readonly uid: string;
}

/** New states by key; undefined for what is gone. */
export type News<T> = ReadonlyMap<string, T | undefined>;

/** All pods and namespaces. */
export class Views {
  readonly #pods = new Map<string, Pod>();
  readonly #namespaces = new Map<string, Namespace>();
  readonly #inNamespace = new Map<string, Set<string>>();
  /** The pods that show an address. */
  readonly #claims = new Map<Ip, Set<Pod>>();
  readonly #views = new Map<string, View>();
  #placed: ReadonlyMap<Ip, Placement> = new Map();

  /** Every pod that policies can see. */
  all(): IterableIterator<View> {
    return this.#views.values();
  }

  /** Every pod, with the addresses that are its own now; one with the node's network has its. */
  *pods(): IterableIterator<Pod> {
    for (const [key, pod] of this.#pods) {
      yield pod.hostNetwork ? pod : { ...pod, ips: this.#views.get(key)?.ips ?? [] };
    }
  }

  /** Every namespace. */
  namespaces(): IterableIterator<Namespace> {
    return this.#namespaces.values();
  }

  /** The pods of a namespace that policies can see. */
  *of(namespace: string): IterableIterator<[string, View]> {
    for (const key of this.#inNamespace.get(namespace) ?? []) {
      const view = this.#views.get(key);
      if (view !== undefined) yield [key, view];
    }
  }

  /** The pod that has an address now. */
  at(ip: Ip): Pod | undefined {
    const place = this.#placed.get(ip);
    if (place === undefined) return this.#owner(ip);
    const pod = this.#pods.get(place.key);
    return pod !== undefined && isOf(place, place.key, pod) ? pod : undefined;
  }

  /** A pod by its key, also one that policies cannot see. */
  pod(key: string): Pod | undefined {
    return this.#pods.get(key);
  }

  /**
   * Takes in what is new, and returns what it changed.
   *
   * @param placed all placements; absent: as before.
   */
  update(
    pods: News<Pod>,
    namespaces: News<Namespace>,
    placed?: ReadonlyMap<Ip, Placement>,
  ): Move[] {
    const touched = new Set<string>();
    if (placed !== undefined) this.#place(placed, touched);
    for (const [name, namespace] of namespaces) {
      if (namespace === undefined) this.#namespaces.delete(name);
      else this.#namespaces.set(name, namespace);
      for (const key of this.#inNamespace.get(name) ?? []) touched.add(key);
    }
    for (const [key, pod] of pods) {
      touched.add(key);
      this.#forget(key, touched);
      if (pod !== undefined) this.#remember(key, pod, touched);
    }
    return [...touched].map((key) => {
      const before = this.#views.get(key);
      const after = this.#view(key);
      if (after === undefined) this.#views.delete(key);
      else this.#views.set(key, after);
      return { key, before, after };
    });
  }

  #place(placed: ReadonlyMap<Ip, Placement>, touched: Set<string>): void {
    for (const [ip, { key }] of [...this.#placed, ...placed]) {
      touched.add(key);
      for (const pod of this.#claims.get(ip) ?? []) touched.add(keyOf(pod));
    }
    this.#placed = placed;
  }

  #forget(key: string, touched: Set<string>): void {
    const old = this.#pods.get(key);
    if (old === undefined) return;
    this.#pods.delete(key);
    this.#inNamespace.get(old.namespace)?.delete(key);
    for (const ip of old.ips) {
      const claims = this.#claims.get(ip);
      claims?.delete(old);
      if (claims?.size === 0) this.#claims.delete(ip);
      // Whoever shows it too may have it now.
      for (const other of claims ?? []) touched.add(keyOf(other));
    }
  }

  #remember(key: string, pod: Pod, touched: Set<string>): void {
    this.#pods.set(key, pod);
    const neighbours = this.#inNamespace.get(pod.namespace);
    if (neighbours === undefined) this.#inNamespace.set(pod.namespace, new Set([key]));
    else neighbours.add(key);
    if (!canOwn(pod)) return;
    for (const ip of pod.ips) {
      const claims = this.#claims.get(ip);
      if (claims === undefined) this.#claims.set(ip, new Set([pod]));
      else {
        for (const other of claims) touched.add(keyOf(other));
        claims.add(pod);
      }
    }
  }

  #view(key: string): View | undefined {
    const pod = this.#pods.get(key);
    if (pod === undefined || !canOwn(pod)) return undefined;
    const given = [...this.#placed].filter(([, place]) => isOf(place, key, pod)).map(([ip]) => ip);
    const shown = pod.ips.filter((ip) => !this.#placed.has(ip) && this.#owner(ip) === pod);
    const ips = [...given, ...shown];
    if (ips.length === 0) return undefined;
    return { pod, ips, namespace: this.#namespaces.get(pod.namespace)?.labels };
  }

  #owner(ip: Ip): Pod | undefined {
    let best: Pod | undefined;
    for (const pod of this.#claims.get(ip) ?? []) {
      if (best === undefined || hasBetterClaim(pod, best)) best = pod;
    }
    return best;
  }
}

function isOf(place: Placement, key: string, pod: Pod): boolean {
  return place.key === key && (place.uid === "" || place.uid === pod.uid);
}

/** Pods with the node's network have no address of their own, those that ended have lost theirs. */
function canOwn(pod: Pod): boolean {
  return !pod.hostNetwork && !pod.done;
}

/** Of two pods that show one address: the one that stays, that runs, that came later. */
export function hasBetterClaim(a: Pod, b: Pod): boolean {
  if (a.terminating !== b.terminating) return b.terminating;
  if (a.running !== b.running) return a.running;
  if (a.created !== b.created) return a.created > b.created;
  return keyOf(a) < keyOf(b);
}
