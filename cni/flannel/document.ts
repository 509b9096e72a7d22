/**
 * The configuration that flannel makes for its delegate, out of its own and the subnet file.
 *
 * @module
 */

import { type Cidr, networkOf } from "../../engine/ip.ts";
import { Fields, type Json, JsonObject, jsonObject } from "../../engine/json.ts";
import type { SubnetEnv } from "../../engine/subnet_env.ts";

/** The plugin that makes the interface unless `delegate.type` says otherwise. */
export const DEFAULT_DELEGATE = "bridge";

/** The plugin that hands out addresses unless `ipam.type` says otherwise. */
const DEFAULT_IPAM = "host-local";

/**
 * The delegate's document: what the operator wrote under `delegate`, which is never overwritten,
 * with the network's name, the node's subnet as range, and routes to the whole cluster.
 *
 * @param network the network's name.
 * @throws {SyntaxError} when `delegate` names what is not its business, or has the wrong form.
 */
export function delegateDocument(config: Fields, network: string, env: SubnetEnv): JsonObject {
  const given = config.fields("delegate") ?? new Fields(new JsonObject([]), "delegate");
  for (const name of ["name", "ipam"]) {
    if (given.has(name)) {
      throw new SyntaxError(`'delegate' dictionary must not have '${name}' field`);
    }
  }
  const type = given.string("type") || DEFAULT_DELEGATE;
  const runtimeConfig = config.object("runtimeConfig");
  const version = config.string("cniVersion");
  let document = given.source;
  if (runtimeConfig !== undefined) document = replace(document, "runtimeConfig", runtimeConfig);
  document = replace(document, "name", network);
  if (version) document = replace(document, "cniVersion", version);
  const defaults = {
    type,
    ipMasq: !env.ipMasq,
    mtu: env.mtu,
    ...(type === DEFAULT_DELEGATE && { isGateway: true }),
  };
  for (const [name, value] of Object.entries(defaults)) {
    if (isAbsent(given, name)) document = replace(document, name, value);
  }
  return replace(document, "ipam", ipamObject(config, env));
}

function ipamObject(config: Fields, env: SubnetEnv): JsonObject {
  const given = config.fields("ipam") ?? new Fields(new JsonObject([]), "ipam");
  const routes = [
    ...given.list("routes") ?? [],
    ...[...env.networks, ...env.networks6].map((dst) => jsonObject({ dst })),
  ];
  const sets = [env.subnet, env.subnet6].filter((inet) => inet !== undefined)
    .map((inet) => [subnetObject(networkOf(inet))]);
  const ipam = isAbsent(given, "type") ? replace(given.source, "type", DEFAULT_IPAM) : given.source;
  return replace(replace(ipam, "ranges", sets), "routes", routes);
}

function subnetObject(subnet: Cidr): JsonObject {
  return jsonObject({ subnet });
}

/** Absent, `null`, or an empty text, which no reader tells apart. */
function isAbsent(fields: Fields, name: string): boolean {
  const value = fields.raw(name);
  return value === undefined || value === "";
}

/** Sets a member under exactly this name, in place of all that a reader would take for it. */
function replace(object: JsonObject, name: string, value: Json): JsonObject {
  const others = object.members.filter(([key]) =>
    key === name || key.toLowerCase() !== name.toLowerCase()
  );
  return new JsonObject(others).with(name, value);
}
