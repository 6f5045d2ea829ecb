// Bundles src/main.ts to app.js and copies index.html and style.css beside it. `--check`: compare instead, and write nothing.
import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const here = new URL("./", import.meta.url);
const target = new URL("../src/townlet_runtime/live/page/", here);
const bundled = await build({
  absWorkingDir: new URL(".", here).pathname,
  entryPoints: ["src/main.ts"],
  bundle: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  write: false,
});
const files = new Map([["app.js", Buffer.from(bundled.outputFiles[0].contents)]]);
for (const name of ["index.html", "style.css"]) files.set(name, await readFile(new URL(`src/${name}`, here)));

let stale = 0;
for (const [name, bytes] of files) {
  const path = new URL(name, target);
  if (!process.argv.includes("--check")) await writeFile(path, bytes);
  else if (!bytes.equals(await readFile(path).catch(() => Buffer.alloc(0)))) {
    console.error(`${name} is not what the sources build: run \`npm run build\``);
    stale += 1;
  }
}
process.exitCode = stale ? 1 : 0;
