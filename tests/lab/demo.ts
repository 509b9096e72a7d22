/**
 * The demo: `tools/demo` runs it in namespaces of its own. It walks through {@link ROWS} and shows
 * what a user would type on the nodes, and what comes back.
 *
 * With `TWILL_KEEP=1` the lab stays up at the end, until this process is ended;
 * `TWILL_DEMO_STATUS` names the file that then gets the exit code.
 *
 * @module
 */

import { must } from "./command.ts";
import { explain, Lab, OUTSIDE } from "./lab.ts";
import { TWILL } from "./node.ts";
import { ROWS } from "./rows.ts";
import { type Kind, type Row, Tour } from "./tour.ts";

const COLOURS: Readonly<Record<Kind | "title", string>> = {
  title: "1",
  command: "36",
  output: "0",
  note: "2",
  good: "32",
  bad: "31",
};

const MARKS: Readonly<Record<Kind, string>> = {
  command: "   ",
  output: "     ",
  note: "   - ",
  good: "   ok   ",
  bad: "   FAIL ",
};

const colourful = Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");

function print(line: string, colour: Kind | "title" = "output"): void {
  const text = colourful ? `\x1b[${COLOURS[colour]}m${line}\x1b[0m\n` : `${line}\n`;
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** Runs one row; whether all of it was as it must be. */
async function pass({ number, title, run }: Row, tour: Tour, first: boolean): Promise<boolean> {
  print(`\n${number}. ${title}`, "title");
  try {
    await run(tour);
    return true;
  } catch (e) {
    // Most of what fails later fails because of this: the logs are shown once.
    const text = first ? explain(e, tour.lab) : e instanceof Error ? e.message : String(e);
    for (const line of text.split("\n")) print(`${MARKS.bad}${line}`, "bad");
    return false;
  }
}

function summary(results: readonly (readonly [Row, boolean])[], seconds: string): void {
  print("\nSummary", "title");
  for (const [{ number, title }, ok] of results) {
    print(
      `${ok ? MARKS.good : MARKS.bad}${String(number).padStart(2)}. ${title}`,
      ok ? "good" : "bad",
    );
  }
  const failed = results.filter(([, ok]) => !ok).length;
  print(`${results.length - failed} passed, ${failed} failed, in ${seconds} s`, "title");
}

/** How to look around in a lab that stays up. Numbers of processes are those in the lab. */
function howToEnter({ nodes, folder }: Lab): void {
  const host = Deno.env.get("TWILL_LAB_PID") ?? "PID";
  print("\nThe lab is still there. Enter a node, as root, with", "title");
  for (const { name, pid } of nodes) {
    print(`   nsenter -t ${host} -m -p nsenter -t ${pid} -m -n -u bash  # ${name}`, "command");
  }
  print("There, look around with", "title");
  print("   twill inspect routes", "command");
  print("   ip netns exec web ip route  # in the pod of that name: ip netns lists them", "command");
  print("What the daemons say is in", "title");
  print(`   /proc/${host}/root${folder}/*.daemon.*.log`, "command");
}

async function main(): Promise<number> {
  const began = performance.now();
  const version = (await must([TWILL, "--version"])).trim();
  print(`${version}: three nodes, one overlay network, no Docker`, "title");
  const lab = await Lab.create();
  try {
    const results: (readonly [Row, boolean])[] = [];
    const places = lab.nodes.map(({ name, address }) => `${name} ${address}`).join(", ");
    print(`${places}; etcd at ${lab.etcd.endpoint}; a host outside, ${OUTSIDE}`);
    const tour = new Tour(lab, (kind, line) => print(`${MARKS[kind]}${line}`, kind));
    for (const row of ROWS) {
      results.push([row, await pass(row, tour, results.every(([, ok]) => ok))]);
    }
    summary(results, ((performance.now() - began) / 1000).toFixed(1));
    const code = results.every(([, ok]) => ok) ? 0 : 1;
    if (Deno.env.get("TWILL_KEEP") === "1") await stay(lab, code);
    return code;
  } finally {
    await lab[Symbol.asyncDispose]();
  }
}

/** Says that all is done, then does nothing for ever. */
async function stay(lab: Lab, code: number): Promise<never> {
  howToEnter(lab);
  const status = Deno.env.get("TWILL_DEMO_STATUS");
  if (status) Deno.writeTextFileSync(status, `${code}\n`);
  for (;;) await new Promise((resolve) => setTimeout(resolve, 3_600_000));
}

Deno.exitCode = await main();
