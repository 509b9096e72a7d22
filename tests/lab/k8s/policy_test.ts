/**
 * NetworkPolicy in a real cluster: all cases of the tables, made by the API and judged by real
 * packets between real pods. This kind is that of the gate.
 */

import { policySuite } from "./policy/suite.ts";

policySuite({ proxy: "iptables", families: "ipv4" });
