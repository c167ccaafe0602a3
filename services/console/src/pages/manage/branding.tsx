import { type FormEvent, useState } from "react";
import type { App } from "../../api/access";
import { type Fault, faultOf } from "../../api/fault";
import { SettingsLevel } from "../../gen/penstock/v1/admin_pb";
import type { Branding as Wire } from "../../gen/penstock/v1/common_pb";
import { useAnswer } from "../../lib/answer";
import { cssOf, inkOn, rgbOf } from "../../lib/color";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Input } from "../../ui/field";
import { Panel } from "../../ui/panel";
import { Failed, Waiting, Wrong } from "../../ui/states";
import { OwnPlaces, type Props, widerOf } from "./settings";

const FIELDS = [
  { name: "productName", label: "Name", hint: undefined },
  { name: "primaryColor", label: "Colour of what can be clicked", hint: "As #1a2b3c" },
  { name: "accentColor", label: "Colour of what stands out", hint: "As #1a2b3c" },
  { name: "logoUrl", label: "Logo", hint: "As https://acme.example/logo.svg" },
  { name: "iconUrl", label: "Icon in the browser's tab", hint: "As https://acme.example/icon.svg" },
  { name: "supportUrl", label: "Help", hint: "As https://help.acme.example, or mailto:help@acme.example" },
  { name: "docsUrl", label: "Documentation", hint: "As https://docs.acme.example" },
  { name: "mailFrom", label: "Mails are from", hint: "As Acme <no-reply@acme.example>" },
] as const;

type Texts = Readonly<Partial<Record<(typeof FIELDS)[number]["name"], string>>>;

/** How the product shows itself to the customers of the app and of the tenant. */
export function Branding({ app }: { app: App }) {
  const about = "How the product shows itself to your customers. What is empty is as the next wider place has it.";
  return <OwnPlaces app={app} title="Branding" about={about} of={Brand} />;
}

/** The branding of one place. */
export function Brand({ level, title, tenantId, appId, changes, onChanged }: Props) {
  const { api } = useSession();
  const held = useAnswer(`${tenantId} ${appId} ${changes}`, async (signal) =>
    api.admin.getBranding({ tenantId, appId }, { signal }),
  );
  const { branding, effective } = held.value ?? {};
  return (
    <Panel title={title}>
      {held.fault !== undefined && <Failed fault={held.fault} again={held.again} />}
      {held.value === undefined && held.fault === undefined && <Waiting />}
      {branding !== undefined && effective !== undefined && (
        <Form
          label={title}
          set={branding}
          effective={effective}
          empty={level === SettingsLevel.INSTALLATION ? "as it comes" : `as ${widerOf(level)} has it`}
          onSave={async (texts) => {
            await api.admin.setBranding({ tenantId, appId, branding: texts });
            onChanged();
          }}
        />
      )}
      {level === SettingsLevel.TENANT && held.value !== undefined && (
        <Domains tenantId={tenantId} domains={held.value.domains} onChanged={onChanged} />
      )}
    </Panel>
  );
}

/** By which customers come. Operators say so, who know whose a domain is. */
function Domains({ tenantId, domains, onChanged }: { tenantId: string; domains: string[]; onChanged(): void }) {
  const { api, may } = useSession();
  const [text, setText] = useState(domains.join(", "));
  const [fault, setFault] = useState<Fault>();
  if (!may("operator")) {
    const said =
      domains.length > 0 ? `It holds on ${domains.join(", ")}.` : "No domain leads here: operators say which do.";
    return <p className="origin">{said}</p>;
  }
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await api.admin.setTenantDomains({ tenantId, domains: text.split(/[\s,]+/).filter((domain) => domain !== "") });
      setFault(undefined);
      onChanged();
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <form aria-label={`Domains of ${tenantId}`} className="branding domains" onSubmit={(event) => void submit(event)}>
      <Input
        label="Domains by which its customers come"
        placeholder="analytics.acme.example"
        hint="With commas between. The tenant's for certain: what is signed in there is shown in its name."
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <Wrong text={fault?.message} />
      <footer>
        <Button type="submit" disabled={text.trim() === domains.join(", ")}>
          Set the domains
        </Button>
      </footer>
    </form>
  );
}

interface FormProps {
  label: string;
  /** As it is set for just this. */
  set: Wire;
  effective: Wire;
  /** What holds of what is left empty, in words. */
  empty: string;
  /** Throws what went wrong. */
  onSave(texts: Texts): Promise<void>;
}

function Form({ label, set, effective, empty, onSave }: FormProps) {
  const [texts, setTexts] = useState<Texts>(() =>
    Object.fromEntries(FIELDS.flatMap(({ name }) => (set[name] === undefined ? [] : [[name, set[name]]]))),
  );
  const [fault, setFault] = useState<Fault>();
  const written = (name: keyof Texts) => texts[name]?.trim() ?? "";
  /** What holds once this is saved, as far as it is known. */
  const shown = (name: keyof Texts) => written(name) || (set[name] === undefined ? effective[name] : undefined);
  const isChanged = FIELDS.some(({ name }) => written(name) !== (set[name] ?? ""));
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await onSave(Object.fromEntries(FIELDS.flatMap(({ name }) => (written(name) ? [[name, written(name)]] : []))));
      setFault(undefined);
    } catch (error) {
      setFault(faultOf(error));
    }
  };
  return (
    <form aria-label={label} className="branding" onSubmit={(event) => void submit(event)}>
      {FIELDS.map(({ name, label, hint }) => (
        <Input
          key={name}
          label={label}
          hint={hint}
          placeholder={shown(name) ?? empty}
          value={texts[name] ?? ""}
          onChange={(event) => setTexts({ ...texts, [name]: event.target.value })}
        />
      ))}
      <Wrong text={fault?.message} />
      <footer>
        <Sample
          name={shown("productName") ?? ""}
          logo={shown("logoUrl")}
          colors={[shown("primaryColor"), shown("accentColor")]}
        />
        <Button type="submit" kind="primary" disabled={!isChanged}>
          Save
        </Button>
      </footer>
    </form>
  );
}

/** How it will look. */
function Sample({
  name,
  logo,
  colors,
}: {
  name: string;
  logo: string | undefined;
  colors: readonly (string | undefined)[];
}) {
  return (
    <div className="sample">
      {logo?.startsWith("https://") && <img className="mark" src={logo} alt="" />}
      <b>{name}</b>
      {colors.map((text, i) => {
        const color = rgbOf(text ?? "");
        if (color === undefined) return null;
        return (
          <span key={i === 0 ? "primary" : "accent"} style={{ background: cssOf(color), color: cssOf(inkOn(color)) }}>
            {text}
          </span>
        );
      })}
    </div>
  );
}
