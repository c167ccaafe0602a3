import { fileURLToPath } from "node:url";
import { build } from "vite";

// By its name it is the package as `make console` built it: what its `exports` say, as for whoever installs it.
const alias = { "@penstock/react": fileURLToPath(new URL("../react", import.meta.url)) };

/** A module of this folder's neighbours and what it needs, as one text.
 * @param {string} path from services/console */
export async function bundle(path) {
  const made = await build({
    configFile: false,
    logLevel: "error",
    resolve: { alias },
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      write: false,
      lib: { entry: fileURLToPath(new URL(`../${path}`, import.meta.url)), formats: ["es"], fileName: "page" },
    },
  });
  const [output] = Array.isArray(made) ? made : [made];
  const [chunk] = output !== undefined && "output" in output ? output.output : [];
  if (chunk === undefined || chunk.type !== "chunk") throw new Error(`${path} wasn't built`);
  return chunk.code;
}
