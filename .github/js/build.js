/** Bundles each entry point flowviz/canvases/js/*.js into one minified module in the given folder. */

import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const source = fileURLToPath(new URL("../../flowviz/canvases/js/", import.meta.url));

await build({
  entryPoints: readdirSync(source).filter((name) => name.endsWith(".js")).map((name) => source + name),
  outdir: process.argv[2],
  bundle: true,
  minify: true,
  format: "esm",
  charset: "utf8",
  target: "es2022",
  // Streamlit takes a text without a line break for the name of a file.
  banner: { js: '/* Built by "npm run build" in .github/js; edit flowviz/canvases/js instead. */' },
  logLevel: "warning",
});
