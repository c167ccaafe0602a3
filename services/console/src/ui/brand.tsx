import { brand } from "../lib/brand";
import { Mark } from "./icon";

/** The product's logo and name. */
export function Name() {
  const { name, logoUrl, isOwn } = brand();
  return (
    <>
      {logoUrl !== undefined && <img className="mark" src={logoUrl} alt="" />}
      {logoUrl === undefined && !isOwn && <Mark />}
      <span>{name}</span>
    </>
  );
}

/** Where it says how events are sent. Somebody's own product doesn't name ours. */
export function FirstEvent() {
  const { isOwn, docsUrl } = brand();
  if (docsUrl !== undefined)
    return (
      <>
        The <a href={docsUrl}>documentation</a> says how.
      </>
    );
  if (isOwn) return null;
  return (
    <>
      See “A first event” in the README, or <code>penstock demo</code>.
    </>
  );
}
