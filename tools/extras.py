"""Prints the requirements of a project's extras, one a line: pip can install extras only together with the project
itself.

Usage: extras.py PYPROJECT EXTRA…
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
lines = list(project["dependencies"])
for extra in sys.argv[2:]:
    lines += project["optional-dependencies"][extra]
print("\n".join(dict.fromkeys(lines)))
