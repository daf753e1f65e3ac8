import { constants } from "node:os";
import koffi, { type LibraryHandle } from "koffi";

/**
 * Loads a shared library so that it stays until the process ends. koffi unloads a library when its handle is collected,
 * threads of its own notwithstanding, and jumps into what is gone.
 *
 * @throws {Error} If it cannot be loaded: its path, and what the loader says.
 */
export function loadForGood(path: string): LibraryHandle {
  const library = openLibrary(path);
  if (process.platform === "win32") {
    const PIN = 1;
    const kernel = koffi.load("kernel32.dll");
    kernel.func("int __stdcall GetModuleHandleExW(uint32_t, const char16_t *, _Out_ void **)")(PIN, path, [null]);
    return library;
  }
  const NODELETE = process.platform === "darwin" ? 0x80 : 0x1000;
  const open = koffi.load(null).func("void *dlopen(const char *, int)");
  open(path, constants.dlopen.RTLD_NOW | NODELETE);
  return library;
}

function openLibrary(path: string): LibraryHandle {
  try {
    return koffi.load(path);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/^Failed to load shared library: /, "").replace(`${path}: `, "");
    throw new Error(`Cannot load ${JSON.stringify(path)}: ${reason}`, { cause });
  }
}
