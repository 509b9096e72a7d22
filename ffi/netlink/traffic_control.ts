/**
 * Traffic control on the wire: `struct tcmsg` and `TCA_*` (linux/rtnetlink.h), with the token
 * bucket (linux/pkt_sched.h), and the u32 filter (linux/pkt_cls.h) whose action sends packets to
 * another link (linux/tc_act/tc_mirred.h). Pure.
 *
 * @module
 */

import {
  be16,
  type Decoded,
  type Fields,
  type Format,
  malformed,
  type Members,
  nested,
  plainNested,
  raw,
  readAttributes,
  readStruct,
  s32,
  type Struct,
  text,
  u16,
  u32,
  u8,
  type Unknown,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `struct tcmsg`. */
export const TCMSG = {
  size: 20,
  members: {
    family: { at: 0, as: u8 },
    index: { at: 4, as: s32 },
    /** Major number in the high half, minor in the low one. */
    handle: { at: 8, as: u32 },
    /** A handle, or one of {@link Parent}. */
    parent: { at: 12, as: u32 },
    /** Of a filter: priority in the high half, protocol in network order in the low one. */
    info: { at: 16, as: u32 },
  },
} as const satisfies Struct;

/** `RTM_*`. */
export const TrafficRtm = {
  NEWQDISC: 36,
  DELQDISC: 37,
  GETQDISC: 38,
  NEWTFILTER: 44,
  GETTFILTER: 46,
} as const;

/** `TC_H_*`. */
export const Parent = { ROOT: 0xffff_ffff, INGRESS: 0xffff_fff1 } as const;

/** `struct tc_tbf_qopt`; the members of its two `struct tc_ratespec` by their full names. */
export const TC_TBF_QOPT = {
  size: 36,
  members: {
    cellLog: { at: 0, as: u8 },
    /** `TC_LINKLAYER_*`. */
    linkLayer: { at: 1, as: u8 },
    /** Bytes per second; at most 2^32-1, {@link TBF}'s `rate64` has the rest. */
    rate: { at: 8, as: u32 },
    peakRate: { at: 20, as: u32 },
    /** Bytes that may wait. */
    limit: { at: 24, as: u32 },
    /** The depth of the bucket, in ticks of 64 ns at the given rate. */
    buffer: { at: 28, as: u32 },
    mtu: { at: 32, as: u32 },
  },
} as const satisfies Struct;

/** `TC_LINKLAYER_*`, linux/pkt_sched.h. */
export const LinkLayer = { ETHERNET: 1 } as const;

/** Unsigned, eight bytes; exact up to 2^53. */
const u64: Format<number> = {
  write: (out, value) => {
    const at = out.reserve(8);
    out.view.setBigUint64(at, BigInt(value), true);
  },
  read: (bytes) => {
    if (bytes.length !== 8) throw malformed(`want 8 bytes, got ${bytes.length}`);
    return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  },
};

/** A payload that is a C structure. */
function structure<S extends Struct>(struct: S): Format<Partial<Members<S>>> {
  return {
    write: (out, value) => writeStruct(out, struct, value),
    read: (bytes) => readStruct(struct, bytes),
  };
}

/** `TCA_TBF_*`. */
export const TBF = {
  parameters: { type: 1, as: structure(TC_TBF_QOPT) },
  /** Bytes per second, from 2^32 on. */
  rate64: { type: 4, as: u64 },
} as const;
/** A token bucket. */
export type Tbf = Decoded<typeof TBF>;

/** `struct tc_mirred`. */
export const TC_MIRRED = {
  size: 28,
  members: {
    /** Number of the action itself; 0: a new one. */
    index: { at: 0, as: u32 },
    /** `TC_ACT_*`: what becomes of the packet afterwards. */
    action: { at: 8, as: s32 },
    /** `TCA_EGRESS_*`, `TCA_INGRESS_*`. */
    direction: { at: 20, as: s32 },
    /** Index of the link that gets the packet. */
    target: { at: 24, as: u32 },
  },
} as const satisfies Struct;

/** `TC_ACT_STOLEN`, linux/pkt_cls.h, and `TCA_EGRESS_REDIR`, linux/tc_act/tc_mirred.h. */
export const Mirred = { TC_ACT_STOLEN: 4, TCA_EGRESS_REDIR: 1 } as const;

/** `TCA_MIRRED_*`. */
export const MIRRED = {
  parameters: { type: 2, as: structure(TC_MIRRED) },
} as const;

/** `TCA_ACT_*`, linux/pkt_cls.h, as they lie on the wire. */
export const ACTION = {
  kind: { type: 1, as: text },
  options: { type: 2, as: raw },
} as const;

/** `TCA_ACT_*` of an action that redirects. */
const MIRRED_ACTION = { kind: ACTION.kind, options: { type: 2, as: nested(MIRRED) } } as const;

/** An action, decoded as far as we know its kind. */
export interface Action {
  readonly kind?: string;
  readonly mirred?: Decoded<typeof MIRRED>;
}

const action: Format<Action> = {
  write: (out, { kind, mirred }) =>
    writeAttributes(out, MIRRED_ACTION, {
      ...(kind === undefined ? {} : { kind }),
      ...(mirred === undefined ? {} : { options: mirred }),
    }),
  read: (bytes) => {
    const { kind, options } = readAttributes(ACTION, bytes);
    return {
      ...(kind === undefined ? {} : { kind }),
      ...(kind !== "mirred" || options === undefined
        ? {}
        : { mirred: readAttributes(MIRRED, options) }),
    };
  },
};

/** A list of actions: the first stands for all that we make. */
export const ACTIONS = { first: { type: 1, as: action } } as const;

/** `struct tc_u32_sel`, without the keys behind it. */
export const TC_U32_SEL = {
  size: 16,
  members: {
    /** `TC_U32_*`. */
    flags: { at: 0, as: u8 },
    offsetShift: { at: 1, as: u8 },
    /** How many keys follow. */
    keys: { at: 2, as: u8 },
    offsetMask: { at: 4, as: be16 },
    offset: { at: 6, as: u16 },
  },
} as const satisfies Struct;

/** `struct tc_u32_key`. Mask and value are in network order; ours are 0, which is any packet. */
export const TC_U32_KEY = {
  size: 16,
  members: {
    mask: { at: 0, as: u32 },
    value: { at: 4, as: u32 },
    offset: { at: 8, as: s32 },
    offsetMask: { at: 12, as: s32 },
  },
} as const satisfies Struct;

/** `TC_U32_TERMINAL`, linux/pkt_cls.h. */
export const Selector = { TERMINAL: 1 } as const;

/** What a filter looks at. */
export interface Selection {
  readonly selector: Partial<Members<typeof TC_U32_SEL>>;
  /** The first key. */
  readonly key?: Partial<Members<typeof TC_U32_KEY>>;
}

const selection: Format<Selection> = {
  write: (out, { selector, key }) => {
    writeStruct(out, TC_U32_SEL, selector);
    if (key !== undefined) writeStruct(out, TC_U32_KEY, key);
  },
  read: (bytes) => {
    const keys = bytes.subarray(TC_U32_SEL.size);
    return {
      selector: readStruct(TC_U32_SEL, bytes),
      ...(keys.length === 0 ? {} : { key: readStruct(TC_U32_KEY, keys) }),
    };
  },
};

/** `TCA_U32_*`. */
export const U32 = {
  actions: { type: 7, as: plainNested(ACTIONS) },
  selection: { type: 5, as: selection },
} as const;
/** A u32 filter. */
export type U32Filter = Decoded<typeof U32>;

/** `TCA_*`, as they lie on the wire; the options depend on the kind. */
export const TCA = {
  kind: { type: 1, as: text },
  options: { type: 2, as: raw },
} as const;

/** A queueing discipline or filter after the netlink header. */
export interface TrafficMessage extends Partial<Members<typeof TCMSG>> {
  /** `tbf`, `ingress`, `u32`, … */
  readonly kind?: string;
  readonly tbf?: Tbf;
  readonly u32?: U32Filter;
  /** Attributes that we do not know. */
  readonly rest?: readonly Unknown[];
}

/** The tables of {@link TCA} for a kind whose options we know. */
function optionsOf<T extends Fields>(table: T): Record<"kind" | "options", Fields[string]> {
  return { kind: TCA.kind, options: { type: TCA.options.type, as: plainNested(table) } };
}

/** Appends header and attributes. */
export function writeTraffic(out: Writer, message: TrafficMessage): void {
  const { kind, tbf, u32: filter, rest } = message;
  const others = { ...(kind && { kind }), ...(rest && { rest }) };
  writeStruct(out, TCMSG, message);
  if (tbf !== undefined) writeAttributes(out, optionsOf(TBF), { ...others, options: tbf });
  else if (filter !== undefined) {
    writeAttributes(out, optionsOf(U32), { ...others, options: filter });
  } else writeAttributes(out, TCA, others);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readTraffic(bytes: Uint8Array): TrafficMessage & Members<typeof TCMSG> {
  const head = readStruct(TCMSG, bytes);
  const { kind, options, rest } = readAttributes(TCA, bytes.subarray(TCMSG.size));
  return {
    ...head,
    ...(kind === undefined ? {} : { kind }),
    ...(kind === "tbf" && options !== undefined ? { tbf: readAttributes(TBF, options) } : {}),
    ...(kind === "u32" && options !== undefined ? { u32: readAttributes(U32, options) } : {}),
    ...(rest === undefined ? {} : { rest }),
  };
}
