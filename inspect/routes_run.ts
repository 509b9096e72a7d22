/**
 * `twill inspect routes`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import { gather } from "./gather.ts";
import { joinRoutes } from "./join_routes.ts";
import { nodeNames } from "./node_names.ts";
import { notesOf, routeCommands } from "./notes.ts";
import { routesJson, routesTable } from "./render_routes.ts";
import { present, type Report } from "./report.ts";
import type { RoutesFlags } from "./routes.ts";

/** Gathers, joins, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: RoutesFlags): Promise<void> {
  await present(this, flags, [flags.subnetFile], () => report(this, flags));
}

async function report(context: InspectContext, flags: RoutesFlags): Promise<Report> {
  const overlay = await gather(context, { subnetFile: flags.subnetFile, peers: true });
  const names = await nodeNames(context, flags);
  const routes = joinRoutes(overlay, flags.all, names.of);
  const { notes, unknown } = notesOf(overlay, routes.length, "routes to pods");
  return {
    kind: "routes",
    document: routesJson(overlay, routes),
    names: routes.map(({ route }) => route.dst),
    table: (options) => routesTable(routes, options),
    findings: [],
    sources: {
      networks: "subnet.env",
      items: "netlink",
      "items.owner": "computed",
      "items.role": "computed",
      "items.meaning": "computed",
      ...(names.from === undefined ? {} : { "items.node": names.from }),
    },
    commands: flags.all ? ["ip -4 route show", "ip -6 route show"] : routeCommands(overlay),
    notes,
    unknown: unknown && !flags.all,
  };
}
