// Copying to the clipboard, also where the page was not loaded over HTTPS or from this host:
// browsers then offer no clipboard, but still copy what is selected.
import { element, toast } from "./dom.js";

export async function copy(text) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    done = copySelected(text);
  }
  toast(done ? `Copied: ${text}` : `The browser does not let this page copy. It is: ${text}`);
}

function copySelected(text) {
  const before = document.activeElement;
  const field = element("textarea", "off-screen");
  field.value = text;
  field.readOnly = true;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return done;
}
