"""Starting, answering, stopping."""

import requests


def test_health_ready_metrics(siskin):
    assert requests.get(siskin.url + "/health", timeout=5).json() == {"status": "ok"}
    assert requests.get(siskin.url + "/ready", timeout=5).json() == {"ready": True, "reasons": []}
    assert siskin.metric("siskin_sockets") == 0
    assert requests.post(siskin.url + "/health", timeout=5).status_code == 405
    assert requests.get(siskin.url + "/nothing/here", timeout=5).status_code == 404
