/**
 * TCP between two pods through every backend, in one run: nodes with flanneld, and nodes with ours.
 * Where the machine's kernel may lack the driver, on virtual machines in software, with vxlan there
 * too, so that the figures of both places can be compared.
 *
 * @module
 */

import { Pair } from "../lab/vm/pair.ts";
import { median } from "./table.ts";
import { measureAll, type Who } from "./udp.ts";

const quick = Deno.args.includes("--quick");
const VM_ROUNDS = quick ? 1 : 3;
const VM_SECONDS = quick ? 3 : 10;

const HERE = ["vxlan", "host-gw", "udp"];
const IN_MACHINES = ["vxlan", "ipip", "wireguard"];

/** Mbit/s, medians. */
type Rates = Readonly<Record<Who, number>>;

async function here(type: string): Promise<Rates> {
  const { flanneld, twill } = await measureAll({ Type: type });
  const middle = (rounds: typeof twill): number => median(rounds.map(({ rate }) => rate));
  return { flanneld: middle(flanneld), twill: middle(twill) };
}

async function inMachines(pair: Pair, type: string): Promise<Rates> {
  const one = async (who: Who): Promise<number> => {
    await pair.network({ Type: type });
    const pods = await pair.connect(who, who);
    const rates = [];
    for (let i = 0; i < VM_ROUNDS; i++) rates.push(await pair.throughput(pods, VM_SECONDS));
    return median(rates);
  };
  return { flanneld: await one("flanneld"), twill: await one("twill") };
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function show(name: string, { flanneld, twill }: Rates): void {
  const figures = [flanneld, twill].map((rate) => `${rate.toFixed(0)} Mbit/s`.padStart(16));
  say(`${name.padEnd(34)}${figures.join("")}${(twill / flanneld).toFixed(2).padStart(8)}`);
}

if (import.meta.main) {
  say(
    `${"TCP between pods (median)".padEnd(34)}${"flanneld".padStart(16)}${"twill".padStart(16)}` +
      "ratio".padStart(8),
  );
  for (const type of HERE) show(type, await here(type));
  await using pair = await Pair.create();
  for (const type of IN_MACHINES) show(`${type}, virtual machines`, await inMachines(pair, type));
}
