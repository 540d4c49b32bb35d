"""Redis with Sentinels and as a Cluster: processes of the test's own on free ports."""

import pathlib
import shutil
import subprocess
import tempfile

import redis
from redis.cluster import RedisCluster

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


class Cluster:
    """Three masters with a replica each, which takes over two seconds after its master is gone."""

    def __init__(self):
        self.nodes = [self._node() for _ in range(6)]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        self.wait()

    @staticmethod
    def _node():
        # The bus is on the port plus 10000 unless it is told: that may be beyond the last one.
        bus = ("--cluster-port", str(free_port()), "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0")
        return RedisServer("--cluster-enabled", "yes", *bus, *AT_ONCE)

    @staticmethod
    def at(node):
        return redis.Redis(port=node.port, decode_responses=True)

    def client(self):
        """redis-py's own client of the Cluster."""
        nodes = [redis.cluster.ClusterNode("127.0.0.1", node.port) for node in self.alive()]
        return RedisCluster(startup_nodes=nodes, decode_responses=True)

    def wait(self):
        """Waits until all living nodes find it up, and each replica has its master's data."""
        wait_for(lambda: all(self._is_whole(node) for node in self.alive()), 60, "whole Cluster")

    def _is_whole(self, node):
        try:
            info, role = self.at(node).cluster("INFO"), self.role(node)
            known = {server[1] for slots in self.at(node).execute_command("CLUSTER SLOTS") for server in slots[2:]}
        except redis.RedisError:
            return False
        replicated = role["role"] == "master" or role["master_link_status"] == "up"
        return info["cluster_state"] == "ok" and len(known) == len(self.alive()) and replicated

    def role(self, node):
        return self.at(node).info("replication")

    def alive(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def masters(self):
        """Living masters by node id."""
        masters = [node for node in self.alive() if self.role(node)["role"] == "master"]
        return {self.at(node).cluster("MYID"): node for node in masters}

    def replica(self):
        """A node that is none."""
        return next(node for node in self.alive() if self.role(node)["role"] == "slave")

    def owner(self, key):
        """Id and node of the master that has a key's slot, as the masters themselves say; nothing while none has."""
        slot = self.at(self.alive()[0]).cluster("KEYSLOT", key)
        for id, node in self.masters().items():
            own = next(one for one in self.at(node).cluster("NODES").values() if "myself" in one["flags"])
            if any(int(slots[0]) <= slot <= int(slots[-1]) for slots in own["slots"]):
                return id, node
        return None

    def migrate(self, key, asked):
        """Moves a key's slot to another master, key by key, as redis-cli's reshard does; waits for `asked` in the middle."""
        slot, (source, old) = self.at(self.alive()[0]).cluster("KEYSLOT", key), self.owner(key)
        target, new = next(master for master in self.masters().items() if master[0] != source)
        self.at(new).cluster("SETSLOT", slot, "IMPORTING", source)
        self.at(old).cluster("SETSLOT", slot, "MIGRATING", target)
        while keys := self.at(old).cluster("GETKEYSINSLOT", slot, 10):
            self.at(old).execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)
        wait_for(asked, 30, "redirect while the slot is on its way")
        for node in (new, old):
            self.at(node).cluster("SETSLOT", slot, "NODE", target)
        return old, new

    def close(self):
        for node in self.nodes:
            node.close()
