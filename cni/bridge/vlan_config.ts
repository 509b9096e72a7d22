/**
 * The VLANs that a configuration asks for: `vlan`, `vlanTrunk` and `preserveDefaultVlan`.
 *
 * @module
 */

import type { Fields } from "../../engine/json.ts";
import type { PodVlans } from "../../engine/pod_vlan.ts";

/** The largest VLAN number; 4095 is reserved by IEEE 802.1Q. */
const MAX_VLAN = 4094;

/**
 * Reads and validates the VLANs; undefined when none is asked for.
 *
 * @throws {SyntaxError} naming the member.
 */
export function vlanConfig(config: Fields): PodVlans | undefined {
  const access = config.integer("vlan") ?? 0;
  if (access < 0 || access > MAX_VLAN) {
    throw new SyntaxError(`vlan: invalid VLAN ID ${access}: want 1 to ${MAX_VLAN}, or 0 for none`);
  }
  const trunk = new Set((config.objects("vlanTrunk") ?? []).flatMap(trunkIds));
  if (access === 0 && trunk.size === 0) return undefined;
  return {
    ...(access === 0 ? {} : { access }),
    trunk: [...trunk].sort((a, b) => a - b),
    keepDefault: config.boolean("preserveDefaultVlan") ?? false,
  };
}

/** The VLANs of one element: of `id`, of the range `minID` to `maxID`, or of both. */
function trunkIds(item: Fields): number[] {
  const [id, from, to] = [
    trunkId(item, "id"),
    trunkId(item, "minID"),
    trunkId(item, "maxID"),
  ];
  const { path } = item;
  if (from === undefined && to === undefined) {
    if (id !== undefined) return [id];
    throw new SyntaxError(`${path}: incorrect trunk: want id, or minID and maxID, got nothing`);
  }
  if (from === undefined || to === undefined) {
    const lacks = from === undefined ? "minID" : "maxID";
    throw new SyntaxError(`${path}: minID and maxID go together, ${lacks} is missing`);
  }
  if (from > to) {
    throw new SyntaxError(`${path}: minID is greater than maxID: ${from} > ${to}`);
  }
  const range = Array.from({ length: to - from + 1 }, (_, n) => from + n);
  return id === undefined ? range : [id, ...range];
}

function trunkId(item: Fields, name: string): number | undefined {
  const value = item.integer(name);
  if (value === undefined || value >= 1 && value <= MAX_VLAN) return value;
  throw new SyntaxError(
    `${item.pathOf(name)}: incorrect trunk ${name}: want 1 to ${MAX_VLAN}, got ${value}`,
  );
}
