import { type FormEvent, useState } from "react";
import type { Fault } from "../api/fault";
import { brand } from "../lib/brand";
import { Name } from "../ui/brand";
import { Button } from "../ui/button";
import { Input } from "../ui/field";

export function SignIn({ fault, enter }: { fault: Fault | undefined; enter(key: string): Promise<void> }) {
  const [key, setKey] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim() !== "") void enter(key.trim());
  };
  return (
    <main className="signin">
      <form className="signin-card" onSubmit={submit}>
        <div className="brand">
          <Name />
        </div>
        <h1>Sign in with a key</h1>
        <p>You see what the key may see, and nothing else.</p>
        <Input
          label="API key"
          type="password"
          name="key"
          placeholder="pnsk_live_…"
          value={key}
          error={fault?.message}
          hint="It stays in this tab, and is forgotten when the tab closes."
          onChange={(event) => setKey(event.target.value)}
          ref={(input) => {
            if (key === "") input?.focus();
          }}
        />
        <Button type="submit" kind="primary" disabled={key.trim() === ""}>
          Sign in
        </Button>
        <details>
          <summary>Where do I find one?</summary>
          {brand().isOwn ? <OfAdmins /> : <OfDemo />}
        </details>
      </form>
    </main>
  );
}

function OfDemo() {
  return (
    <p>
      A server started with <code>make run</code> has the demo tenant's in <code>.penstock/demo.key</code>. Elsewhere an
      admin makes keys: on the page Keys here, or with <code>penstock key create</code>.
    </p>
  );
}

function OfAdmins() {
  const { name, supportUrl } = brand();
  return (
    <p>
      Who administers {name} for you makes keys, on the page Keys here.{" "}
      {supportUrl !== undefined && <a href={supportUrl}>Ask for help</a>}
    </p>
  );
}
