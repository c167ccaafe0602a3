import { useState } from "react";
import { Topic_State as State, type Topic } from "../../gen/penstock/v1/admin_pb";
import { useAnswerEvery } from "../../lib/answer";
import { useSession } from "../../lib/session";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Input } from "../../ui/field";
import { DialogForm } from "../../ui/form";
import { Panel } from "../../ui/panel";
import { Failed, Waiting } from "../../ui/states";

/** How many partitions the event log has, and more of them: for operators. */
export function EventLog() {
  const { api } = useSession();
  const [isGrowing, setGrowing] = useState(false);
  const {
    value: topic,
    fault,
    again,
  } = useAnswerEvery("topic", async (signal) => (await api.admin.getTopic({}, { signal })).topic);
  const isSteady = topic?.state === State.STEADY;
  return (
    <Panel
      title="The event log"
      actions={
        <Button disabled={!isSteady} onClick={() => setGrowing(true)}>
          More partitions
        </Button>
      }
    >
      {fault !== undefined && <Failed fault={fault} again={again} />}
      {topic === undefined && fault === undefined && <Waiting what="Asking the log" />}
      {topic !== undefined && (
        <dl className="facts">
          <div>
            <dt>Topic</dt>
            <dd>{topic.name}</dd>
          </div>
          <div>
            <dt>Partitions</dt>
            <dd>{topic.partitions}</dd>
          </div>
          <div>
            <dt>Growth</dt>
            <dd>{growthOf(topic)}</dd>
          </div>
        </dl>
      )}
      {isGrowing && topic !== undefined && (
        <Dialog title="More partitions" onClose={() => setGrowing(false)}>
          <Grow
            partitions={topic.partitions}
            onAsked={() => {
              setGrowing(false);
              again();
            }}
          />
        </Dialog>
      )}
    </Panel>
  );
}

function growthOf({ state, growingTo, unheardWriters, waitingPartitions }: Topic): string {
  switch (state) {
    case State.STEADY:
      return "none under way";
    case State.GROWING:
    case State.PAUSED:
      return unheardWriters.length === 0
        ? `to ${growingTo}`
        : `to ${growingTo}, waits for ${unheardWriters.join(", ")}`;
    default:
      return `${waitingPartitions} new ones wait for what their users sent before`;
  }
}

function Grow({ partitions, onAsked }: { partitions: number; onAsked(): void }) {
  const { api } = useSession();
  const [wanted, setWanted] = useState(String(2 * partitions));
  const submit = async () => {
    await api.admin.growTopic({ partitions: Number(wanted) });
    onAsked();
  };
  return (
    <DialogForm label="Let it grow" isReady={Number(wanted) > partitions} onSubmit={submit}>
      <p>Each partition is one writer's work. The log never gets fewer; events go on, but for moments.</p>
      <Input
        label="Partitions"
        type="number"
        min={2 * partitions}
        step={partitions}
        hint={`A multiple of ${partitions}, which it has.`}
        value={wanted}
        onChange={(event) => setWanted(event.target.value)}
      />
    </DialogForm>
  );
}
