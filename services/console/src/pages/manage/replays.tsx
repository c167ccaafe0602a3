import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import { type Fault, faultOf } from "../../api/fault";
import { type Replay, Replay_State as State } from "../../gen/penstock/v1/admin_pb";
import { useAnswerEvery } from "../../lib/answer";
import { glance, instant } from "../../lib/format";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { List } from "../../ui/list";
import { Panel } from "../../ui/panel";
import { Empty, Listed, Wrong } from "../../ui/states";

/** Ranges of the log whose rows are made anew: for operators. */
export function Replays() {
  const { api } = useSession();
  const [isStarting, setStarting] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const replays = useAnswerEvery(
    "replays",
    async (signal) => (await api.admin.listReplays({ pageSize: 10 }, { signal })).replays,
  );
  const cancel = async (replayId: string) => {
    try {
      await api.admin.cancelReplay({ replayId });
      setFault(undefined);
    } catch (error) {
      setFault(faultOf(error));
    }
    replays.again();
  };
  return (
    <Panel title="Replays" actions={<Button onClick={() => setStarting(true)}>Replay a time</Button>}>
      <Wrong text={fault?.message} />
      <Listed
        answer={replays}
        empty={
          <Empty icon="health" title="Nothing was replayed">
            <p>A replay makes rows that were lost or wrong anew, out of the event log, while everything goes on.</p>
          </Empty>
        }
      >
        {(all) => (
          <List label="Replays">
            <thead>
              <tr>
                <th scope="col">Asked for, UTC</th>
                <th scope="col">By key</th>
                <th scope="col">Records</th>
                <th scope="col">How far</th>
                <th scope="col">
                  <span className="unseen">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {all.map((replay) => (
                <tr key={replay.replayId}>
                  <th scope="row">{replay.requestedAt ? instant(timestampDate(replay.requestedAt), "UTC") : "–"}</th>
                  <td>
                    <code>{replay.requestedBy}</code>
                  </td>
                  <td>{glance(Number(replay.records))}</td>
                  <td>{progressOf(replay)}</td>
                  <td className="actions">
                    {replay.finishedAt === undefined && (
                      <Button kind="quiet" onClick={() => void cancel(replay.replayId)}>
                        Cancel
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </List>
        )}
      </Listed>
      {isStarting && (
        <Dialog title="Replay a time" onClose={() => setStarting(false)}>
          <Start
            onStarted={() => {
              setStarting(false);
              replays.again();
            }}
          />
        </Dialog>
      )}
    </Panel>
  );
}

function progressOf({ state, recordsRead, records, message }: Replay): string {
  switch (state) {
    case State.WAITING:
      return "waits for its turn";
    case State.BUILDING:
      return `${glance(Number(recordsRead))} of ${glance(Number(records))} read`;
    case State.SWAPPING:
      return "puts rows in their places";
    case State.DONE:
      return "done";
    case State.CANCELLED:
      return "cancelled";
    default:
      return message || "failed";
  }
}

const HOUR_MS = 3_600_000;
const ENDS = [
  { end: "from", label: "From, UTC", hint: "By when events were received. The log must still have them." },
  { end: "to", label: "To, UTC", hint: "What isn't stored yet is no part of it." },
] as const;

function Start({ onStarted }: { onStarted(): void }) {
  const { api } = useSession();
  const [times, setTimes] = useState({ from: local(Date.now() - HOUR_MS), to: local(Date.now()) });
  const submit = async () => {
    const [from, to] = [times.from, times.to].map((text) => timestampFromDate(new Date(`${text}Z`)));
    await api.admin.startReplay({ ...(from && { from }), ...(to && { to }) });
    onStarted();
  };
  return (
    <DialogForm label="Start the replay" isReady={times.from !== "" && times.to !== ""} onSubmit={submit}>
      {ENDS.map(({ end, label, hint }) => (
        <Input
          key={end}
          label={label}
          type="datetime-local"
          step={1}
          hint={hint}
          value={times[end]}
          onChange={(event) => setTimes({ ...times, [end]: event.target.value })}
        />
      ))}
    </DialogForm>
  );
}

/** As a field of the browser has it. */
function local(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19);
}
