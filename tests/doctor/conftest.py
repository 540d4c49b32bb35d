"""Lets the tests of this folder import their neighbours, and parts of two others."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "openwebui", HERE.parent / "redis", HERE.parent / "crash"):
    sys.path.append(str(folder))
