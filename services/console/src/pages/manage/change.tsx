import { Code } from "@connectrpc/connect";
import { type FormEvent, useState } from "react";
import { type Fault, faultOf } from "../../api/fault";
import type { Settings } from "../../gen/penstock/v1/admin_pb";
import { Priority } from "../../gen/penstock/v1/common_pb";
import { items } from "../../lib/items";
import { useSession } from "../../lib/session";
import { isZone, ZONES } from "../../lib/zone";
import { Button } from "../../ui/button";
import { Combobox } from "../../ui/combobox";
import { Input, Select } from "../../ui/field";
import { Wrong } from "../../ui/states";
import { isWhole, LimitFields, quotaOf, textsOf } from "./limits";

export const PRIORITIES = [
  { value: Priority.INTERACTIVE, label: "interactive" },
  { value: Priority.SCHEDULED, label: "scheduled" },
  { value: Priority.BACKGROUND, label: "background" },
] as const;

export const urgency = (priority: Priority) => PRIORITIES.find(({ value }) => value === priority)?.label ?? "";

interface Props {
  tenantId: string;
  appId: string;
  /** As they are set for just this. */
  set: Settings;
  /** Of just these: who saved others meanwhile isn't overwritten. */
  etag: string;
  /** What is left empty is as this has it, as "the tenant". */
  wider: string;
  onChanged(): void;
}

/** Settings, to be set. What somebody may not set is left out, and it stays. */
export function Change({ tenantId, appId, set, etag, wider, onChanged }: Props) {
  const { api, may } = useSession();
  const [timeZone, setTimeZone] = useState(set.timeZone);
  const [origins, setOrigins] = useState(set.allowedOrigins.join(", "));
  const [defaultPriority, setDefaultPriority] = useState(set.defaultPriority);
  const [maxPriority, setMaxPriority] = useState(set.maxPriority);
  const [days, setDays] = useState(set.retentionDays?.toString() ?? "");
  const [limits, setLimits] = useState(textsOf(set.quota));
  const [fault, setFault] = useState<Fault>();
  const empty = `as ${wider} has it`;
  const quota = quotaOf(limits);
  // Of a tenant operators say what it may; its admins share that out among its apps.
  const setsLimits = appId !== "" || may("operator");
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const allowedOrigins = items(origins);
    const settings = {
      timeZone,
      allowedOrigins,
      defaultPriority,
      ...(may("operator") && { maxPriority, ...(days.trim() !== "" && { retentionDays: Number(days) }) }),
      ...(setsLimits && { quota: quota ?? {} }),
    };
    try {
      await api.admin.setSettings({ tenantId, appId, settings, etag });
      onChanged();
    } catch (error) {
      const fault = faultOf(error);
      const isOther = fault.code === Code.Aborted;
      setFault(isOther ? { ...fault, message: `${fault.message}: close this to see it, and change that` } : fault);
    }
  };
  const priority = (label: string, hint: string, value: Priority, onChange: (value: Priority) => void) => (
    <Select
      label={label}
      hint={hint}
      value={String(value)}
      options={[
        { value: String(Priority.UNSPECIFIED), label: empty },
        ...PRIORITIES.map(({ value, label }) => ({ value: String(value), label })),
      ]}
      onChange={(value) => onChange(Number(value))}
    />
  );
  return (
    <form className="dialog-body" onSubmit={(event) => void submit(event)}>
      <div className="field">
        <span className="label">Time zone</span>
        <Combobox
          label="Time zone"
          value={timeZone}
          placeholder={empty}
          choices={[{ value: "", note: empty }, ...ZONES.map((value) => ({ value }))]}
          onChange={(zone) => (zone === "" || isZone(zone)) && setTimeZone(zone)}
        />
      </div>
      <Input
        label="Web pages that may call"
        placeholder={empty}
        hint="Origins, as https://dash.example, with commas between; for keys that name none themselves. Name this console's own too."
        value={origins}
        onChange={(event) => setOrigins(event.target.value)}
      />
      {priority("Priority of queries", "Of those that don't say.", defaultPriority, setDefaultPriority)}
      {may("operator") && (
        <>
          {priority("Highest priority", "Whatever calls and keys say.", maxPriority, setMaxPriority)}
          <Input
            label="Days that events are kept"
            inputMode="numeric"
            placeholder={empty}
            hint="0 is for ever. Days that are over for longer go within an hour, and don't come back."
            error={isWhole(days) ? undefined : "Write a whole number"}
            value={days}
            onChange={(event) => setDays(event.target.value)}
          />
        </>
      )}
      {setsLimits && (
        <>
          <LimitFields texts={limits} onChange={setLimits} />
          <p className="hint">
            {appId === ""
              ? `A limit that is empty is ${empty}; 0 is none.`
              : "The tenant's limits hold as well, for all of its apps together. Empty or 0 is none beside them."}
          </p>
        </>
      )}
      <Wrong text={fault?.message} />
      <div className="dialog-actions">
        <Button type="submit" kind="primary" disabled={quota === undefined || !isWhole(days)}>
          Save
        </Button>
      </div>
    </form>
  );
}
