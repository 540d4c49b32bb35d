"""schemathesis asks the live binary everything that its OpenAPI document describes, and much that it doesn't."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def test_schemathesis_finds_nothing(siskin, browse, tmp_path):
    # Somebody has to be there for the routes of sessions.
    browse("ann", reconnection=True)
    command = [
        pathlib.Path(sys.executable).parent / "schemathesis",
        *("run", f"{siskin.url}/api/v1/openapi.json", "-H", f"Authorization: Bearer {siskin.api_key}"),
        *("--checks", "all", "--max-time", "75", "--request-timeout", "30", "--output-truncate", "false"),
        # A room is whoever is in it: one that was closed is empty, not gone. What was deleted is asked for in test_resources.py.
        *("--max-response-time", "20", "--exclude-checks", "use_after_free"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "serializers.py")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    assert "Tested: " in done.stdout
