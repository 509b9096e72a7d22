/** NetworkPolicy with kube-proxy in nftables mode, dual: in the long form only; see policy_test.ts. */

import { policySuite } from "./policy/suite.ts";

if (Deno.env.get("TWILL_FULL") !== undefined) policySuite({ proxy: "nftables", families: "dual" });
