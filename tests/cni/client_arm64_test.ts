/** The client for arm64, in qemu: the same daemons, the same demands. */

import { forMachine } from "./client_program.ts";

forMachine("aarch64");
await import("./client_test.ts");
