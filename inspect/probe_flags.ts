/**
 * The flags of commands that send packets: only where they are told to.
 *
 * @module
 */

import type { FlagParametersForType } from "@stricli/core";
import type { InspectContext } from "./context.ts";

/** What they are told. */
export interface ProbeFlags {
  /** Send packets: without it nothing leaves this node. */
  readonly probe: boolean;
  /** Where the daemons of other nodes answer (their `--healthz-port`). */
  readonly healthPort: number;
}

/** The declaration. @param brief what is sent. */
export function probeFlags(brief: string): FlagParametersForType<ProbeFlags, InspectContext> {
  return {
    probe: { kind: "boolean", default: false, withNegated: false, brief },
    healthPort: {
      kind: "parsed",
      parse: parsePortNumber,
      default: "8081",
      placeholder: "port",
      brief: "Where daemons of other nodes answer (--healthz-port); used with --probe",
    },
  };
}

function parsePortNumber(word: string): number {
  const port = Number(word);
  if (/^\d+$/.test(word) && port > 0 && port < 65_536) return port;
  throw new SyntaxError(`want 1 to 65535, got ${JSON.stringify(word)}`);
}
