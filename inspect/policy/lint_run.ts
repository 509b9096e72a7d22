/**
 * `twill inspect policy lint`: the work.
 *
 * @module
 */

import type { InspectContext } from "../context.ts";
import { know } from "../knowledge.ts";
import { give } from "../report.ts";
import type { PolicyFlags } from "./commands.ts";
import { lintPolicies } from "./lint.ts";
import { look } from "./look.ts";
import { giveNothing } from "./matrix_run.ts";

/** Looks at all policies, and gives out. */
export async function run(this: InspectContext, flags: PolicyFlags): Promise<void> {
  const view = await look(this, flags);
  const { snapshot } = view;
  if (snapshot === undefined) return await giveNothing(this, flags, view, "policy lint");
  const { leases } = await know(this, flags);
  const findings = lintPolicies(snapshot, leases);
  const { length } = snapshot.cluster.policies;
  await give(this, flags, {
    kind: "policy lint",
    document: { policies: length },
    names: findings.map(({ id, subject }) => `${id} ${subject}`),
    table: () => findings.length === 0 ? `${length} policies, nothing found\n` : "",
    findings,
    sources: { policies: "status socket", findings: ["status socket", "computed"] },
    commands: view.commands,
    notes: [
      ...view.notes,
      "Ports of Services in place of pods' are not looked for: the daemon does not watch Services",
    ],
  });
}
