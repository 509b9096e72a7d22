/**
 * Which backends there are.
 *
 * @module
 */

import { ErrorCode, OpError } from "../errors.ts";
import { FLANNEL_BACKENDS, type NetConf } from "../net_conf.ts";
import { alloc } from "./alloc.ts";
import type { Backend } from "./backend.ts";
import { hostGw } from "./host_gw.ts";
import { vxlan } from "./vxlan.ts";

const BUILT: Readonly<Record<string, (conf: NetConf) => Backend>> = {
  vxlan,
  "host-gw": hostGw,
  alloc,
};

/**
 * The backend that the configuration names.
 *
 * @throws {OpError} when this version does not have it; never falls back to another one.
 * @throws {SyntaxError} when its section has a bad value.
 */
export function makeBackend(conf: NetConf): Backend {
  const { type } = conf.backend;
  const make = Object.hasOwn(BUILT, type) ? BUILT[type] : undefined;
  if (make !== undefined) return make(conf);
  const known = (FLANNEL_BACKENDS as readonly string[]).includes(type);
  throw new OpError("use", `backend ${JSON.stringify(type)}`, {
    code: ErrorCode.unsupportedField,
    kernel: known ? "this version of twill does not have it" : `unknown backend type: ${type}`,
    advice: `Set Backend.Type to one of: ${Object.keys(BUILT).join(", ")}`,
  });
}
