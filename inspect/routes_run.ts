/**
 * `twill inspect routes`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import { gather } from "./gather.ts";
import { joinRoutes } from "./join_routes.ts";
import { notesOf, routeCommands } from "./notes.ts";
import { routesJson, routesTable } from "./render_routes.ts";
import { give } from "./report.ts";
import type { RoutesFlags } from "./routes.ts";

/** Gathers, joins, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: RoutesFlags): Promise<void> {
  const overlay = await gather(this, { subnetFile: flags.subnetFile, peers: true });
  const routes = joinRoutes(overlay, flags.all);
  const { notes, unknown } = notesOf(overlay, routes.length, "routes to pods");
  await give(this, flags, {
    kind: "routes",
    document: routesJson(overlay, routes),
    names: routes.map(({ route }) => route.dst),
    table: (options) => routesTable(routes, options),
    findings: [],
    commands: flags.all ? ["ip -4 route show", "ip -6 route show"] : routeCommands(overlay),
    notes,
    unknown: unknown && !flags.all,
  });
}
