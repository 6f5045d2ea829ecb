"""The licences of everything that the packages need: run it with the interpreter of an environment that holds them.

Only the standard library is imported, so that the environment holds nothing else.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

OWN = re.compile(r"townlet-")
ALLOWED = frozenset(
    "0BSD 2BSD 3BSD Apache Apache-2.0 BSD BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 CNRI-Python HPND ISC MIT MIT-0"
    " MIT-CMU PSF PSF-2.0 Python-2.0 Unlicense Zlib".lower().split()
) | {"apache-2.0 with llvm-exception"}
"""Licences that ask for a notice and no more: they put no condition on what is built with them."""
CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Apache Software License": "Apache",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
}
TEXTS = {
    "MIT License": "MIT",
    "The MIT License": "MIT",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License v2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD-3": "BSD-3-Clause",
    "PSF License": "PSF",
}
BY_NAME = {
    "certifi": "MPL-2.0 holds for changes to its own files, and none are made; Ray needs it",
    "tqdm": "MPL-2.0 holds for changes to its own files, and none are made; Mesa needs it",
}
"""Distributions that are allowed by name, each with its reason."""
NVIDIA = re.compile(r"nvidia-[a-z0-9-]+|cuda-toolkit|cuda-[a-z0-9-]+")
"""What torch needs on Linux: proprietary; whoever installs torch fetches it, and nothing here hands it on."""


def licence_of(distribution: Distribution) -> str:
    """The licence that a distribution's metadata states, as an SPDX expression where that can be told."""
    metadata = distribution.metadata
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    known: list[str] = [CLASSIFIERS.get(line, line) for line in classifiers if line != "OSI Approved"]
    if known:
        return " AND ".join(known)
    texts = metadata.get_all("License") or [""]
    first = str(texts[0]).strip().partition("\n")[0].strip()
    return TEXTS.get(first) or first


def is_allowed(expression: str) -> bool:
    """Whether every part that AND joins is on the list, or of parts that OR joins one; with brackets, every part."""
    alternatives = [expression] if "(" in expression else re.split(r"\s+OR\s+", expression)
    return any(
        all(name.strip(" ()").lower() in ALLOWED for name in re.split(r"\s+(?:AND|OR)\s+", alternative))
        for alternative in alternatives
    )


def reason_of(name: str) -> str | None:
    """Why a distribution is allowed whatever its licence, if it is."""
    return "needed by torch on Linux, not handed on" if NVIDIA.fullmatch(name) else BY_NAME.get(name)


def main() -> int:
    """List every distribution with its licence; 1 when one is neither on the list nor allowed by name."""
    refused = []
    for distribution in sorted(distributions(), key=lambda found: found.name.lower()):
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if OWN.match(name):
            continue
        licence = licence_of(distribution) or "nothing"
        reason = reason_of(name)
        print(f"{name} {distribution.version}: {licence}" + (f" ({reason})" if reason else ""))
        if not reason and not is_allowed(licence):
            refused.append(f"{name} states {licence!r}, which is not on the list of tools/licences.py")
    for line in refused:
        print(line, file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
