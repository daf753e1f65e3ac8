#!/usr/bin/env bash
# Looks at a machine with a GPU: does the engine `xla` work there, and how fast is it beside PyTorch?
#
#     node tools/gpu/pack.mjs                                            # once, where npm ci has run; needs no GPU
#     bash tools/gpu/check.sh [--out FOLDER] [--size full|tiny] [--only STEP,...] [--minutes 8]
#
# Fetches nothing. Needs Python 3 (MADFORMER_PYTHON names another than python3), with PyTorch for what is measured
# beside, and JAX's CUDA plugin with NVIDIA's libraries, which Python is asked for. MADFORMER_PJRT_PLUGIN names a plugin
# oneself: the CPU plugin with --size tiny tries every step without a GPU. Writes check.json and check.md into FOLDER
# (default: gpu-check in the current folder). Exit code: 0 all passed, 1 something failed or was left out, 2 it cannot
# be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bundle=$here/bundle
[ -d "$bundle" ] || bundle=$here # the bundle has a copy of this script
if [ ! -f "$bundle/steps.mjs" ] || [ ! -f "$bundle/node.xz" ]; then
  echo "Cannot check: $bundle holds no bundle; node tools/gpu/pack.mjs makes it where npm ci has run" >&2
  exit 2
fi
export MADFORMER_PYTHON=${MADFORMER_PYTHON:-python3}

if [ -z "${MADFORMER_PJRT_PLUGIN:-}" ]; then
  found=$("$MADFORMER_PYTHON" - <<'PYTHON'
import importlib.util
from pathlib import Path

def folders(name):
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]

plugins = [file for folder in folders("jax_plugins") for file in sorted(folder.glob("xla_cuda*/xla_cuda_plugin.so"))]
libraries = [str(lib) for folder in folders("nvidia") for lib in sorted(folder.glob("*/lib"))]
if plugins:
    print(plugins[-1])
    print(":".join(libraries))
PYTHON
) || { echo "Cannot check: $MADFORMER_PYTHON does not run" >&2; exit 2; }
  if [ -z "$found" ]; then
    echo "Cannot check: $MADFORMER_PYTHON has no jax_plugins/xla_cuda*/xla_cuda_plugin.so, and MADFORMER_PJRT_PLUGIN" \
      "names none" >&2
    exit 2
  fi
  MADFORMER_PJRT_PLUGIN=$(head -n 1 <<<"$found")
  export MADFORMER_PJRT_PLUGIN
  # The engine loads those that lie beside the plugin; the others are found by this.
  LD_LIBRARY_PATH=$(tail -n +2 <<<"$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$MADFORMER_PYTHON" -c 'import lzma, shutil, sys
with lzma.open(sys.argv[1]) as packed, open(sys.argv[2], "wb") as node: shutil.copyfileobj(packed, node, 1 << 20)' \
  "$bundle/node.xz" "$work/node"
chmod +x "$work/node"
export MADFORMER_GOLDEN=$bundle/golden
export MADFORMER_ENGINES=${MADFORMER_ENGINES:-$work/engines} # where compiled programs are kept
"$work/node" "$bundle/check.mjs" "$@"
