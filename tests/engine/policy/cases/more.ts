/**
 * Cases that other suites leave out. The language of the rows: see `language.ts`.
 *
 * @module
 */

import type { Case } from "../language.ts";

/** The rows. */
export const MORE: readonly Case[] = [
  {
    id: "X01",
    title: "policyTypes unset, only ingress present: egress stays open",
    steps: [{
      deeds: ["x/p on pod=a types (unset); in: P(pod=b) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow x/b → x/a"],
    }],
  },
  {
    id: "X02",
    title: "policyTypes unset, no sections at all: ingress isolation only",
    steps: [{ deeds: ["x/p on pod=a types (unset)"], expect: ["TCP/80: deny * → x/a"] }],
  },
  {
    id: "X03",
    title: "policyTypes unset, non-empty egress: isolates both directions",
    steps: [{
      deeds: ["x/p on pod=a types (unset); out: N(k8s-name=y) @ any port"],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/a → y/*"],
    }],
  },
  {
    id: "X04",
    title: "policyTypes [Egress] with an ingress section: ingress section inert",
    steps: [{
      deeds: ["x/p on pod=a types Egress; in: P(pod=b) @ any port; out: []"],
      expect: ["TCP/80: deny x/a → *"],
    }],
  },
  {
    id: "X05",
    title: "policyTypes [Ingress] with an egress section: egress section inert",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: []; out: P(pod=b) @ any port"],
      expect: ["TCP/80: deny * → x/a"],
    }],
  },
  {
    id: "X06",
    title: "two rules do not form a cross product of peers and ports",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: P(pod=b) @ TCP/80 ; N(k8s-name=y) @ TCP/81"],
      expect: [
        "TCP/80: deny * → x/a but allow x/b → x/a",
        "TCP/81: deny * → x/a but allow y/* → x/a",
      ],
    }],
  },
  {
    id: "X07",
    title: "same selector text in another namespace does not select",
    steps: [{ deeds: ["y/p on pod=a types Ingress; in: []"], expect: ["TCP/80: deny * → y/a"] }],
  },
  {
    id: "X08",
    title: "Exists and DoesNotExist operators",
    steps: [{
      deeds: [
        "pod y/a labels tier=1",
        "x/p on pod=a types Ingress; in: N(all)+P(tier) @ any port",
        "z/q on !tier types Ingress; in: []",
      ],
      expect: ["TCP/80: deny * → x/a ; * → z/* but allow y/a → x/a"],
    }],
  },
  {
    id: "X09",
    title: "NotIn also matches objects that lack the key",
    steps: [{
      deeds: ["pod x/b labels tier=db", "x/p on tier notin (db) types Ingress; in: []"],
      expect: ["TCP/80: deny * → x/a,x/c"],
    }],
  },
  {
    id: "X10",
    title: "matchLabels and matchExpressions are AND-ed",
    steps: [{
      deeds: ["pod x/b labels tier=db", "x/p on tier=db , pod in (b,c) types Ingress; in: []"],
      expect: ["TCP/80: deny * → x/b"],
    }],
  },
];
