/**
 * Which backends there are.
 *
 * @module
 */

import { checkBackend, type NetConf } from "../net_conf.ts";
import { alloc } from "./alloc.ts";
import type { Backend } from "./backend.ts";
import { extension } from "./extension.ts";
import { hostGw } from "./host_gw.ts";
import { ipip } from "./ipip.ts";
import { udp } from "./udp.ts";
import { vxlan } from "./vxlan.ts";
import { wireguard } from "./wireguard.ts";

const BUILT: Readonly<Record<string, (conf: NetConf) => Backend>> = {
  vxlan,
  "host-gw": hostGw,
  ipip,
  wireguard,
  udp,
  extension,
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
  checkBackend(conf.backend, Object.keys(BUILT));
  const make = BUILT[type];
  if (make === undefined) throw new TypeError(`backend ${type} was checked and is missing`);
  return make(conf);
}
