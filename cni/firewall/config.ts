/**
 * The configuration of the `firewall` plugin.
 *
 * @module
 */

import { INGRESS_POLICIES, type IngressPolicy } from "../../engine/rules/firewall.ts";
import { readConfig } from "../errors.ts";
import type { Request } from "../plugin.ts";

/** Who lets the packets through: the part that DEL needs. */
export interface BackendConfig {
  /** `auto`: firewalld where it runs, else iptables. */
  readonly backend: "iptables" | "firewalld" | "auto";
  /** firewalld's zone for pods. */
  readonly zone: string;
}

/** What the operator asked for. */
export interface FirewallConfig extends BackendConfig {
  /** The operator's own chain. */
  readonly adminChain: string;
  readonly policy: IngressPolicy;
}

/** Reads the part that DEL needs. @throws {OpError} code 7 */
export function backendConfig({ config }: Request): BackendConfig {
  return readConfig("failed to load netconf", () => {
    const backend = config.string("backend");
    return {
      backend: backend === "iptables" || backend === "firewalld" ? backend : "auto",
      zone: config.string("firewalldZone") || "trusted",
    };
  });
}

/** Reads the configuration. @throws {OpError} code 7 naming the member */
export function firewallConfig(request: Request): FirewallConfig {
  const { config } = request;
  return readConfig("failed to load netconf", () => {
    const adminChain = config.string("iptablesAdminChainName") || "CNI-ADMIN";
    // What iptables takes as the name of a chain (XT_EXTENSION_MAXNAMELEN, linux/netfilter).
    if (!/^[^\s!-]\S{0,27}$/.test(adminChain)) {
      throw new SyntaxError(
        `iptablesAdminChainName: want 1 to 28 characters without spaces, got ${
          JSON.stringify(adminChain)
        }`,
      );
    }
    const policy = policyOf(config.string("ingressPolicy") || "open");
    return { ...backendConfig(request), adminChain, policy };
  });
}

function policyOf(text: string): IngressPolicy {
  const policy = INGRESS_POLICIES.find((one) => one === text);
  if (policy !== undefined) return policy;
  throw new SyntaxError(
    `unknown ingressPolicy ${JSON.stringify(text)}: want ${INGRESS_POLICIES.join(", ")}`,
  );
}
