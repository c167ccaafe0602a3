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
