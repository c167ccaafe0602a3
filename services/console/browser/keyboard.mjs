// The keyboard alone: past the pages to what they show, and by single keys, which not everybody wants to be shortcuts.
import { given, tell } from "./visit.mjs";

tell(async (visit) => {
  const page = await visit.page();
  await visit.signIn(page, given("PENSTOCK_KEY"), "/console/explore");
  const open = async () => {
    await page.goto(`${visit.origin}/console/explore`);
    await page.getByRole("heading", { name: "No events match" }).waitFor();
  };
  const drawn = () =>
    page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const dialog = page.getByRole("dialog", { name: "Keyboard" });
  const switched = dialog.getByRole("checkbox", { name: "Single keys are shortcuts" });
  const close = async () => {
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  };
  const skip = async () => {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => document.activeElement?.textContent);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.tagName === "MAIN");
    return [name, await page.evaluate(() => document.activeElement?.id)];
  };
  /** What single keys do. */
  const press = async () => {
    await page.keyboard.press("?");
    await drawn();
    const help = await dialog.count();
    if (help > 0) await close();
    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await drawn();
    return { page: new URL(page.url()).pathname, help };
  };

  await open();
  const skipped = await skip();
  const on = await press();

  await open();
  await page.keyboard.press("?");
  await dialog.waitFor();
  await visit.checkBoth(page, "keyboard");
  await visit.picture(page, "keyboard");
  await switched.focus();
  await page.keyboard.press("Space");
  await close();
  await open();
  const off = await press();

  // What needs no single key goes on.
  await open();
  const id = (await skip())[1];
  await page.getByRole("button", { name: "Keyboard shortcuts" }).focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  const kept = [await switched.isChecked()];
  await switched.focus();
  await page.keyboard.press("Space");
  kept.push(await switched.isChecked());
  await close();
  const onAgain = await press();
  return { skipped, on, off, kept: [...kept, id], onAgain };
});
