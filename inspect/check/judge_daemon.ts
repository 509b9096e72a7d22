/**
 * What the daemon says of itself. Pure.
 *
 * @module
 */

import { judged, passed, together, type Verdict } from "./verdict.ts";
import type { NodeView } from "./view.ts";

/** Judges it where twill's daemon has run; a node of flannel has none. */
export function judgeDaemon({ known, installed }: Pick<NodeView, "known" | "installed">): Verdict {
  const { daemon, leases } = known;
  const name = "daemon";
  if (!installed) return together();
  if (daemon === undefined) {
    if (leases === undefined) return passed(name, "twill's daemon has not run here");
    return judged(name, "", [{
      id: "daemon-silent",
      subject: "daemon",
      short: "does not answer",
      what: "twill's daemon has run here, and does not answer now",
      breaks: leases.conf.backend.type === "udp"
        ? "nothing reaches other nodes' pods: the backend is udp, whose packets pass the daemon"
        : "packets still flow as they did; but nothing is repaired, new nodes stay unknown, and " +
          "the lease is not renewed",
      fix: "see whether it runs, and its log:",
      command: "systemctl status twill",
    }]);
  }
  const { reasons, remarks, version, store } = daemon;
  return judged(
    name,
    `${version} is ready, with ${store.name}${remarks.length > 0 ? `; ${remarks.join("; ")}` : ""}`,
    reasons.map((reason) => ({
      id: "daemon-not-ready",
      subject: "daemon",
      short: "not ready",
      what: reason,
      breaks: "new pods may not start, and changes of other nodes may not be followed",
      fix: "see its log:",
      command: "journalctl -u twill",
    })),
  );
}
