"""Redis with Sentinels: processes of the test's own on free ports."""

import pathlib
import shutil
import subprocess
import tempfile

import redis

from siskin import RedisServer, free_port, wait_for


# A new replica is sent the data without waiting for others to come.
AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Sentinels:
    """A master, a replica, three Sentinels that call the master `service` and replace it a second after it is gone."""

    def __init__(self, service="mymaster"):
        self.service = service
        self.master = RedisServer(*AT_ONCE)
        self.replica = RedisServer("--replicaof", "127.0.0.1", str(self.master.port))
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="siskin-sentinel-"))
        self.ports = [free_port() for _ in range(3)]
        wait_for(lambda: self.info(self.replica).get("master_link_status") == "up", what="replication")
        self.processes = [self._sentinel(port) for port in self.ports]
        wait_for(self._agreed, 30, "Sentinels that know each other")

    def _sentinel(self, port):
        conf = self.dir / f"{port}.conf"
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.dir}\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {self.service} 1000\nsentinel failover-timeout {self.service} 5000\n"
        )
        return subprocess.Popen(["redis-sentinel", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def info(self, server):
        """What a server says about its role; nothing while it changes it."""
        try:
            return redis.Redis(port=server.port).info("replication")
        except redis.RedisError:
            return {}

    def _agreed(self):
        try:
            states = [redis.Redis(port=port).sentinel_master(self.service) for port in self.ports]
        except redis.RedisError:
            return False
        return all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 for state in states)

    @property
    def hosts(self):
        """As WEBSOCKET_SENTINEL_HOSTS takes them."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @property
    def python_url(self):
        """As python-socketio takes them."""
        return f"redis+sentinel://{self.hosts}/0/{self.service}"

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait(30)
        for server in (self.master, self.replica):
            server.close()
        shutil.rmtree(self.dir, ignore_errors=True)
