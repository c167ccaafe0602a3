import type { Claims } from "./token";

export type Language = "node" | "python";
export type Algorithm = "HS256" | "EdDSA";

/** What stands in the tenant's own page. */
export function pageOf(server: string, app: string, dashboard: string): string {
  return `<script type="module" src="${server}/console/penstock-dashboard.js"></script>
<penstock-dashboard app="${app}" dashboard="${dashboard}" token="..."></penstock-dashboard>
<script type="module">
  // A token that is over is followed by a new one.
  document.addEventListener("penstock-unauthenticated", async ({ target }) =>
    target.setAttribute("token", await (await fetch("/analytics-token")).text()));
</script>`;
}

/** What signs the page's tokens on the tenant's own server. */
export function serverOf(language: Language, algorithm: Algorithm, keyId: string, { filters, ...fixed }: Claims) {
  const source = language === "node" ? nodeOf : pythonOf;
  return source(algorithm, literal({ alg: algorithm, typ: "JWT", kid: keyId }), literal(fixed), literal(filters));
}

/** As JavaScript and Python both read it. */
function literal(value: object): string {
  const written = (one: unknown) =>
    Array.isArray(one) ? `[${one.map((text) => JSON.stringify(text)).join(", ")}]` : JSON.stringify(one);
  const entries = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${written(one)}`);
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}

function nodeOf(algorithm: Algorithm, header: string, fixed: string, filters: string): string {
  const { names, secret, signature } = NODE[algorithm];
  return `import { ${names} } from "node:crypto";

const SECRET = ${secret};
const HEADER = ${header};
const CLAIMS = ${fixed};

const encoded = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");

/** A token for whoever is signed in, good for ten minutes. What signs it stays here. */
function tokenFor(filters) {
  const exp = Math.floor(Date.now() / 1000) + 600;
  const signed = \`\${encoded(HEADER)}.\${encoded({ ...CLAIMS, filters, exp })}\`;
  return \`\${signed}.\${${signature}.toString("base64url")}\`;
}

// The filters of whoever is signed in: nothing in the page can take them off.
const token = tokenFor(${filters});`;
}

const NODE = {
  HS256: {
    names: "createHmac",
    secret: `Buffer.from(process.env.EMBED_SECRET, "base64url")`,
    signature: `createHmac("sha256", SECRET).update(signed).digest()`,
  },
  EdDSA: {
    names: "createPrivateKey, sign",
    secret: "createPrivateKey(process.env.EMBED_PRIVATE_KEY)",
    signature: "sign(null, Buffer.from(signed), SECRET)",
  },
};

function pythonOf(algorithm: Algorithm, header: string, fixed: string, filters: string): string {
  const { modules, secret, signature } = PYTHON[algorithm];
  return `${modules}

SECRET = ${secret}
HEADER = ${header}
CLAIMS = ${fixed}

def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

def token_for(filters):
    """A token for whoever is signed in, good for ten minutes. What signs it stays here."""
    claims = {**CLAIMS, "filters": filters, "exp": int(time.time()) + 600}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (HEADER, claims))
    return f"{signed}.{encoded(${signature})}"

# The filters of whoever is signed in: nothing in the page can take them off.
token = token_for(${filters})`;
}

const PYTHON = {
  HS256: {
    modules: "import base64, hashlib, hmac, json, os, time",
    secret: `base64.urlsafe_b64decode(os.environ["EMBED_SECRET"] + "=")`,
    signature: "hmac.new(SECRET, signed.encode(), hashlib.sha256).digest()",
  },
  EdDSA: {
    modules: `import base64, json, os, time
from cryptography.hazmat.primitives.serialization import load_pem_private_key`,
    secret: `load_pem_private_key(os.environ["EMBED_PRIVATE_KEY"].encode(), None)`,
    signature: "SECRET.sign(signed.encode())",
  },
};
