import { useEffect, useRef, useState } from "react";
import type { Table } from "../api/values";
import { Empty, Waiting } from "../ui/states";
import { drawMap } from "./map";
import { byCountry, loadWorld, type World } from "./world";

interface Props {
  table: Table;
  names: readonly string[];
  label: string;
}

/** The first measure by the country that the dimension names. */
export function WorldMap({ table, names, label }: Props) {
  const box = useRef<HTMLElement>(null);
  const show = useRef<ReturnType<typeof drawMap>>(undefined);
  const [world, setWorld] = useState<World | "away">();
  useEffect(() => {
    loadWorld().then(setWorld, () => setWorld("away"));
  }, []);
  useEffect(() => {
    if (box.current === null || world === undefined || world === "away") return;
    show.current ??= drawMap(box.current, world);
    show.current(byCountry(table, names, world), label);
  }, [world, table, names, label]);
  if (world === undefined) return <Waiting what="Drawing the map" />;
  if (world === "away")
    return (
      <Empty icon="world" title="The map didn't come">
        <p>Check that the server runs, then reload the page. The table below has the numbers.</p>
      </Empty>
    );
  return <figure className="map-box" ref={box} />;
}
