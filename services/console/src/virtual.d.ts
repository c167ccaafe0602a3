declare module "virtual:world" {
  /** The world as world.ts draws it: the size of the drawing, land without a code, and of each country its codes, names and shape (empty if it has none). */
  const world: {
    readonly width: number;
    readonly height: number;
    readonly ground: string;
    readonly countries: readonly (readonly [alpha2: string, alpha3: string, names: readonly string[], path: string])[];
  };
  export default world;
}
